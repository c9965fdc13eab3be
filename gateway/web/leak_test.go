package web_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain: nothing that a test started outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
