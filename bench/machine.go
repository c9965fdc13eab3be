package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine says where a run took place. What the system does not tell is empty.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Go     string `json:"go"`
	// Load is the load average over 1, 5 and 15 minutes before the run: others
	// that compute meanwhile are part of every figure.
	Load string `json:"load_average"`
}

// ThisMachine describes the machine now.
func ThisMachine() Machine {
	return Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(),
		Kernel: firstWords("/proc/sys/kernel/osrelease", 1),
		Load:   firstWords("/proc/loadavg", 3),
		CPU:    valueIn("/proc/cpuinfo", "model name"),
		Memory: valueIn("/proc/meminfo", "MemTotal"),
	}
}

// String is the machine on one line.
func (m Machine) String() string {
	words := []string{fmt.Sprintf("%d cores", m.Cores)}
	for _, w := range []string{m.CPU, m.Memory, m.OS + "/" + m.Arch, m.Kernel, m.Go} {
		if w != "" {
			words = append(words, w)
		}
	}
	if m.Load != "" {
		words = append(words, "load average "+m.Load)
	}
	return strings.Join(words, ", ")
}

// firstWords returns the first n words of a file, or nothing if there is none.
func firstWords(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	words := strings.Fields(string(b))
	return strings.Join(words[:min(n, len(words))], " ")
}

// valueIn returns what follows "name:" in a file, or nothing.
func valueIn(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if before, after, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(before) == name {
			return strings.TrimSpace(after)
		}
	}
	return ""
}
