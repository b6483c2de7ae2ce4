//go:build linux

package bench

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// thisMachine is what the figures depend on, with the versions in the program.
func thisMachine(program string) Machine {
	m := Machine{CPU: "unknown", Cores: runtime.NumCPU(), Go: runtime.Version(), NATS: "unknown"}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		release, _, _ := bytes.Cut(name.Release[:], []byte{0})
		m.Kernel = "Linux " + string(release)
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if info, err := buildinfo.ReadFile(program); err == nil {
		m.Go = info.GoVersion
		for _, dep := range info.Deps {
			if dep.Path == "github.com/nats-io/nats-server/v2" {
				m.NATS = strings.TrimPrefix(dep.Version, "v")
			}
		}
	}
	return m
}
