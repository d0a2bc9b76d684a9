package main

import "runtime/debug"

// version is what the Go toolchain knows of this build: the module's version,
// or the commit of a build from a working copy.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel" + commit(info.Settings)
	}
	return v + " " + info.GoVersion
}

// commit is "-" and the commit, where it was recorded.
func commit(list []debug.BuildSetting) string {
	var revision, modified string
	for _, s := range list {
		switch {
		case s.Key == "vcs.revision":
			revision = "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+modified"
		}
	}
	return revision + modified
}
