package sinktest_test

import (
	"testing"

	"github.com/spacegrid/spacegrid/datapump/sinktest"
)

// The sink in memory keeps the contract that it writes down.
func TestMemory(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinktest.Opened {
		m := sinktest.NewMemory()
		return sinktest.Opened{Sink: m, Read: m.Read}
	})
}
