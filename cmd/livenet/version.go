package main

import "runtime/debug"

// version is what the Go toolchain knows of this build: the module's version, with
// the commit of a build from a working copy, and its own.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}
