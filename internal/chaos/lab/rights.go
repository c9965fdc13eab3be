package lab

import (
	"fmt"
	"os/exec"
)

// Rights says what can be done to members here. Each field is empty if it can be
// done, and otherwise the reason why not.
type Rights struct {
	Network string // a private network, in which links can be cut
	Disk    string // a file system for each member, that can be filled and lose power
	Trace   string // a tracer that makes system calls of a member slow or fail
	Freeze  string // members can be frozen, and seen to be
}

// Possible says what can be done from where this process is: inside of private
// namespaces more than outside.
func Possible() Rights { return possible() }

// Missing returns what cannot be done, one line each.
func (r Rights) Missing() []string {
	var all []string
	for _, x := range []struct{ what, why string }{
		{"network", r.Network}, {"disk", r.Disk}, {"trace", r.Trace}, {"freeze", r.Freeze},
	} {
		if x.why != "" {
			all = append(all, x.what+": "+x.why)
		}
	}
	return all
}

// programs returns why not, if one of some programs is not installed.
func programs(names ...string) string {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Sprintf("%s is not installed", name)
		}
	}
	return ""
}
