package report

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is what a run depends on beside the code, with what the programs were
// made of.
type Machine struct {
	CPU       string  `json:"cpu"`
	Cores     int     `json:"cores"`
	MemoryGiB float64 `json:"memoryGiB"`
	OS        string  `json:"os"`
	Go        string  `json:"go"`
	// NATSServer is the server's version, NATSClient that of the library.
	NATSServer string `json:"natsServer"`
	NATSClient string `json:"natsClient"`
}

const natsClient = "github.com/nats-io/nats.go"

// ThisMachine tells of this one, and of the programs that lie at two paths.
func ThisMachine(natsServer, gateway string) (Machine, error) {
	m := Machine{CPU: "unknown", Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	m.CPU = line("/proc/cpuinfo", "model name", m.CPU)
	var kib float64
	if _, err := fmt.Sscan(line("/proc/meminfo", "MemTotal", "0"), &kib); err == nil {
		m.MemoryGiB = kib / (1 << 20)
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.OS += " " + strings.TrimSpace(string(release))
	}
	server, err := buildinfo.ReadFile(natsServer)
	if err != nil {
		return m, err
	}
	// It is the program itself here, and not what one depends on.
	m.NATSServer = strings.TrimPrefix(server.Main.Version, "v")
	ours, err := buildinfo.ReadFile(gateway)
	if err != nil {
		return m, err
	}
	m.Go = ours.GoVersion
	for _, dep := range ours.Deps {
		if dep.Path == natsClient {
			m.NATSClient = strings.TrimPrefix(dep.Version, "v")
		}
	}
	return m, nil
}

// line gives what a file of /proc has behind a name.
func line(path, name, otherwise string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	for l := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}
