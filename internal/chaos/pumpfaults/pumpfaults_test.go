package pumpfaults_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab/labtest"
	"github.com/spacegrid/spacegrid/internal/chaos/pumpfaults"
)

var (
	down  = flag.Duration("pump.down", 3*time.Second, "how long a sink is down, an owner frozen, and leaders are moved")
	burst = flag.Duration("pump.burst", 3*time.Second, "how long ten times the rate is asked for")
	rate  = flag.Int("pump.rate", pumpfaults.DefaultRate, "requests a second")
	seed  = flag.Uint64("pump.seed", 1, "what clients and faults draw from")
)

func TestMain(m *testing.M) { labtest.Main(m) }

// What was acknowledged is in the embedded stores and in PostgreSQL, once and in the
// order of its key, after everything that can happen to a sink and to its feeders.
// Each store ends in one line of JSON.
func TestPumpFaults(t *testing.T) {
	lines, err := pumpfaults.Run(t.Context(), pumpfaults.Config{
		Folder: t.TempDir(), Binary: labtest.Binary(), Rate: *rate, Down: *down, Burst: *burst, Seed: *seed,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(os.Stdout, string(b))
		if !l.OK {
			t.Errorf("%s is not what was acknowledged, or a proof did not come to its end: %s", l.Store, b)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d stores", len(lines))
	}
}
