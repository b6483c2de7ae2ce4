package config

import (
	"runtime"
	"runtime/debug"
)

// version and commit are set for releases:
// -ldflags "-X github.com/parley-im/parley/pkg/config.version=v1.2.3 -X github.com/parley-im/parley/pkg/config.commit=0123abc".
var version, commit string

// Version returns the version of this binary: that of the release, else what the build knows of its commit, else
// "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	switch {
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	case revision != "":
		return "devel-" + revision + dirty
	default:
		return "devel"
	}
}

// Line is what --version says of a program: its version, the commit where that is known, and what it was built with
// and for.
func Line(program string) string {
	line := program + " " + Version() + " ("
	if commit != "" {
		line += "commit " + commit + ", "
	}
	return line + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}
