package lab

import "fmt"

// A program inside of private namespaces finds in its environment which network it
// was started from, so that it can make sure that it is in another one.
const outsideEnv = "SPACEGRID_LAB_OUTSIDE"

// RightsError says why there can be no private namespaces here.
type RightsError struct {
	Reason string
}

// Error gives the reason and what is left.
func (e *RightsError) Error() string {
	return fmt.Sprintf("lab: no private namespaces: %s (members can still be killed, frozen and given wrong clocks)", e.Reason)
}
