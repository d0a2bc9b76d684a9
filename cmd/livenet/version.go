package main

import "runtime/debug"

// version returns the module's version, as the Go toolchain recorded it, and Go's version.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}
