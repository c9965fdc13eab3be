package spacetest_test

import (
	"testing"

	"github.com/spacegrid/spacegrid/grid/space/spacetest"
)

// The state machine by itself passes the suite, but for what is no operation of
// one partition.
func TestMachine(t *testing.T) {
	spacetest.Run(t, spacetest.NewMachine(), "counts", "aggregates")
}
