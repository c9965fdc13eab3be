package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// sample is a report with everything that one can have.
func sample() Report {
	result := func(rate float64) Result {
		return Result{
			Ops: int64(5 * rate), Seconds: 5, PerSecond: rate,
			Latency: Latency{Min: 8.12, Mean: 60.5, P50: 52.4, P90: 99.9, P99: 812.4, P999: 4012, P9999: 9123.4, Max: 12345.6},
		}
	}
	others := 0.25
	w := Workload{}
	closed := Load{Pipeline: 16}
	open := Load{Clients: 64, Rate: 20_000, Seed: 9}
	r := newReport("compare", 7)
	r.Started = time.Date(2030, 4, 5, 6, 7, 8, 0, time.UTC)
	r.Machine = Machine{
		OS: "linux", Arch: "amd64", Kernel: "6.1.0", CPU: "Example 3000", Cores: 2, Memory: "24000000 kB", Go: "go1.26.0", Load: "0.50 0.40 0.30",
	}
	ours := newCell("resp-pipeline-16-set", "spacegrid", w, closed, runs{results: []Result{result(700_000), result(560_000), result(640_000)}, others: &others})
	theirs := newCell("resp-pipeline-16-set", "redis 7.0.15", w, closed, runs{results: []Result{result(380_000)}, others: &others})
	lost := result(99_000)
	lost.Failed, lost.Missed, lost.Unanswered, lost.Failure = 3, 2, 1, "the server refused: no room"
	lost.Slip = &Latency{P50: 55.3, P99: 1100}
	mine := newCell("replicated-write-64", "spacegrid", Workload{Zipf: 1.1}, open, runs{results: []Result{lost}, others: &others})
	other := newCell("replicated-write-64", "primary-backup", Workload{Zipf: 1.1}, open, runs{results: []Result{result(230_000)}, others: &others})
	r.Cells = []Cell{ours, theirs, mine, other}
	r.Ratios = []Ratio{newRatio(ours, theirs, 1.6), newRatio(mine, other, 0.5)}
	r.Notes = []string{"client and servers share this machine"}
	return r
}

// A report reads as in its golden files, for people and for programs: a line
// that is lost stands beside one that is won, and only JSON begins with a brace.
func TestReportGolden(t *testing.T) {
	var text, line bytes.Buffer
	if err := sample().WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := sample().WriteJSON(&line); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", text.Bytes())
	golden(t, "report.json", line.Bytes())

	for l := range strings.Lines(text.String()) {
		if strings.HasPrefix(l, "{") {
			t.Errorf("a line of text begins with a brace: %s", l)
		}
	}
	if n := bytes.Count(line.Bytes(), []byte("\n")); n != 1 || line.Bytes()[line.Len()-1] != '\n' {
		t.Errorf("the JSON has %d lines", n)
	}
}

// What is written as JSON reads back as the same report.
func TestReportReadsBack(t *testing.T) {
	var line bytes.Buffer
	if err := sample().WriteJSON(&line); err != nil {
		t.Fatal(err)
	}
	var got Report
	in := json.NewDecoder(&line)
	in.DisallowUnknownFields()
	if err := in.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if want := sample(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A cell shows the median of its runs and how far they lay apart; of an even
// number it takes the lower middle, in nobody's favour.
func TestCellIsMedian(t *testing.T) {
	var of runs
	busy := []float64{0.1, 0.7, 0.3, 0.2}
	for i, rate := range []float64{9, 1, 5, 7} {
		of.add(Result{PerSecond: rate}, &busy[i])
	}
	c := newCell("x", "y", Workload{}, Load{}, of)
	if c.Result.PerSecond != 5 || c.Low != 1 || c.High != 9 || c.Runs != 4 || *c.OthersCores != 0.7 {
		t.Errorf("%+v", c)
	}
	if of.results[0].PerSecond != 9 {
		t.Error("the runs were put into another order")
	}
}

// What this process computes is not counted as others' doing, what another one
// computes is.
func TestOthersCores(t *testing.T) {
	if !readCores(nil).ok {
		t.Skip("the system does not tell")
	}
	own := func(before, after coresUsed) float64 {
		return float64(after.own-before.own) / ticksPerSecond / after.at.Sub(before.at).Seconds()
	}
	before := readCores(nil)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		_ = newPool(Workload{ValueSize: 1}, 1)
	}
	after := readCores(nil)
	if cores := own(before, after); cores < 0.1 || cores > float64(ThisMachine().Cores)+0.5 {
		t.Errorf("%v cores used by a loop of our own", cores)
	}
	if others := after.others(before); others == nil || *others < 0 || *others > float64(ThisMachine().Cores) {
		t.Errorf("others used %v", others)
	}

	p, err := startProcess("busy", "/bin/sh", func(string) []string { return []string{"-c", "while :; do :; done"} })
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	pids := []int{p.pid()}
	with, without := readCores(pids), readCores(nil)
	used := func() float64 { return float64(readCores(pids).own-with.own) / ticksPerSecond }
	for end := time.Now().Add(10 * time.Second); used() < 0.2 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	ours, foreign := readCores(pids).others(with), readCores(nil).others(without)
	if foreign == nil || ours == nil || *foreign <= *ours {
		t.Errorf("with a loop that is ours %v, with a foreign one %v", ours, foreign)
	}
}

// A peer that did nothing is no victory.
func TestRatioOfNothing(t *testing.T) {
	r := newRatio(Cell{Result: Result{PerSecond: 10}}, Cell{}, 1)
	if r.Met || r.Ratio != 0 {
		t.Errorf("%+v", r)
	}
}

// The machine is described as far as the system tells, on one line.
func TestMachineLine(t *testing.T) {
	m := ThisMachine()
	if m.Cores < 1 || m.Go == "" || strings.Contains(m.String(), "\n") {
		t.Errorf("%+v", m)
	}
	if _, err := os.Stat("/proc/loadavg"); err == nil && (m.Kernel == "" || len(strings.Fields(m.Load)) != 3 || m.Memory == "") {
		t.Errorf("%+v", m)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}
