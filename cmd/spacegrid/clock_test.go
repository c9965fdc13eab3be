package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A clock is off by what its file says at the moment, and by what it last said while
// it says nothing that makes sense.
func TestOffClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	if _, err := offClock(path); err == nil {
		t.Error("a clock without a file")
	}
	say := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("1h\n")
	wall, err := offClock(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says string
		off  time.Duration
	}{{"1h\n", time.Hour}, {"-175200h", -175200 * time.Hour}, {"", -175200 * time.Hour}, {"soon", -175200 * time.Hour}, {"0s", 0}} {
		say(c.says)
		if off := wall().Sub(time.Now().Round(0)); (off - c.off).Abs() > time.Minute {
			t.Errorf("after %q it is off by %s, want %s", c.says, off, c.off)
		}
	}
}
