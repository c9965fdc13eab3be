package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/grid"
)

// memberArgument makes the test binary a member, so that comparisons of
// processes are tested with real ones.
const memberArgument = "bench-test-member"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == memberArgument {
		if err := serveMember(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// memberArgs is ServeArgs for the test binary.
func memberArgs(m Member) []string {
	args := ServeArgs(m)
	args[0] = memberArgument
	return args
}

// serveMember understands the arguments of memberArgs.
func serveMember(args []string) error {
	var c grid.Config
	var durability, level, join string
	f := flag.NewFlagSet(memberArgument, flag.ContinueOnError)
	f.StringVar(&c.Name, "name", "", "")
	f.StringVar(&c.Listen, "listen", "", "")
	f.StringVar(&c.Gossip, "gossip", "", "")
	f.StringVar(&c.RESP, "resp", "", "")
	f.StringVar(&c.HTTP, "http", "", "")
	f.StringVar(&join, "join", "", "")
	f.StringVar(&durability, "durability", "", "")
	f.StringVar(&level, "log-level", "", "")
	f.IntVar(&c.Expect, "expect", 1, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if durability != "memory" {
		return fmt.Errorf("durability %q", durability)
	}
	if join != "" {
		c.Join = strings.Split(join, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	g, err := grid.Open(ctx, c)
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.Ready(ctx); err != nil {
		return err
	}
	m := &members{}
	defer m.close()
	if err := m.openDoor(ctx, Member{Name: c.Name, RESP: c.RESP}, g); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// short is a load that only shows that everything works together, also on a
// machine that has other things to do.
var short = Load{Warmup: 20 * time.Millisecond, Duration: 250 * time.Millisecond}

// A comparison has a pair of cells and a ratio for every line asked for, with
// members inside this process and with processes of their own, and nothing that
// it started is left afterwards.
func TestCompare(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]Start{"inside": {}, "processes": {Program: program, Args: memberArgs}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			var said []string
			r, err := Compare(t.Context(), CompareConfig{
				Start: start, Pipelines: []int{16}, Clients: 4, Callers: []int{8}, Runs: 1,
				Workload: Workload{Keys: 500}, Load: short, Progress: func(s string) { said = append(said, s) },
			})
			if err != nil {
				t.Fatalf("%v; it said %q", err, said)
			}
			want := []string{"resp-pipeline-16-set", "resp-pipeline-16-get", "replicated-write-8"}
			if len(r.Cells) != 2*len(want) || len(r.Ratios) != len(want) {
				t.Fatalf("%d cells and %d ratios", len(r.Cells), len(r.Ratios))
			}
			for i, x := range r.Ratios {
				if x.Name != want[i] || x.Target != "spacegrid" || x.AtLeast <= 0 || x.Ours != r.Cells[2*i].Result.PerSecond || x.Theirs != r.Cells[2*i+1].Result.PerSecond {
					t.Errorf("ratio %d is %+v", i, x)
				}
			}
			for _, c := range r.Cells {
				if c.Result.Latency.Max == 0 || c.Result.Failed+c.Result.Missed+c.Result.Unanswered > 0 || c.Runs != 1 {
					t.Errorf("%s at %s: %+v", c.Name, c.Target, c.Result)
				}
			}
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// Without Redis a comparison measures the rest and says what is missing.
func TestCompareWithoutRedis(t *testing.T) {
	r, err := Compare(t.Context(), CompareConfig{
		Parts: []string{PartRESP}, Redis: "/nowhere/redis-server", Pipelines: []int{1}, Clients: 2, Runs: 1,
		Workload: Workload{Keys: 100}, Load: short,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Cells) != 2 || len(r.Ratios) != 0 || !strings.Contains(strings.Join(r.Notes, "\n"), "not compared with Redis") {
		t.Errorf("%d cells, %d ratios, notes %q", len(r.Cells), len(r.Ratios), r.Notes)
	}
}

// A program that is no member is reported with its last words, at once.
func TestCompareBrokenMember(t *testing.T) {
	start := Start{Program: "/bin/sh", Args: func(Member) []string { return []string{"-c", "echo out of luck >&2; exit 3"} }}
	begin := time.Now()
	_, err := Compare(t.Context(), CompareConfig{Start: start, Load: short})
	if err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Error(err)
	}
	if took := time.Since(begin); took > formTimeout/2 {
		t.Errorf("it took %v", took)
	}
}

// What cannot be measured is refused before anything is started.
func TestCompareRefuses(t *testing.T) {
	if _, err := Compare(t.Context(), CompareConfig{Parts: []string{"luck"}}); err == nil {
		t.Error("a part that there is not")
	}
	if _, err := Replicated(t.Context(), ReplicatedConfig{Members: 1}); err == nil {
		t.Error("replication on one member")
	}
	if _, err := KV(t.Context(), KVConfig{}); err == nil {
		t.Error("no address")
	}
	if _, err := KV(t.Context(), KVConfig{Addr: "127.0.0.1:1", Runs: -1}); err == nil {
		t.Error("no runs")
	}
}

// A member inside this process is measured by writes and by reads.
func TestEmbedded(t *testing.T) {
	r, err := Embedded(t.Context(), EmbeddedConfig{Callers: []int{4}, Workload: Workload{Keys: 200}, Load: short})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Cells) != 2 || r.Cells[0].Name != "embedded-write-4" || r.Cells[1].Name != "embedded-read-4" {
		t.Fatalf("%+v", r.Cells)
	}
	for _, c := range r.Cells {
		if c.Result.Latency.Max == 0 || c.Result.Failed+c.Result.Missed+c.Result.Unanswered > 0 {
			t.Errorf("%s: %+v", c.Name, c.Result)
		}
	}
}
