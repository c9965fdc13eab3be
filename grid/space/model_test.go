package space_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/spacetest"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

var testHistory = space.History{7}

// TestPartitionEqualsModel: whatever is asked, a partition answers and changes
// like the model; its changelog rebuilds its content; a second partition that
// goes through exports on the way has the same digest.
func TestPartitionEqualsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { spacetest.Check(t, 60) })
}

// Every operation that a client or the grid can ask for is drawn, and every code
// that can be answered is, of those who answer at once and of those who wait: what
// never came was never compared.
func TestEveryCodeIsCompared(t *testing.T) {
	ops := []space.OpCode{space.OpEpoch, space.OpTick, space.OpDefine}
	for code := space.OpWrite; code <= space.OpFinish; code++ {
		ops = append(ops, code)
	}
	// Full tables, refused scans and trimmed changelogs are no matter of the
	// model: see what it leaves out. No value drawn is too large.
	elsewhere := []space.Code{space.CodeTooLarge, space.CodeScanRefused, space.CodeBusy, space.CodeTrimmed, space.CodeFull}
	waited := []space.Code{space.OK, space.CodeNotFound, space.CodeCancelled}
	var met spacetest.Coverage
	for seed := range uint64(64) {
		coverage, difference := spacetest.Drive(seed, 300)
		if difference != nil {
			t.Fatal(difference)
		}
		met.Add(coverage)
	}
	for _, op := range ops {
		if met.Ops[op] == 0 {
			t.Errorf("operation %d was never asked for", op)
		}
	}
	for code := space.OK; code <= space.CodeUnprepared; code++ {
		if met.Codes[code] == 0 && !slices.Contains(elsewhere, code) {
			t.Errorf("%q was never answered", code)
		}
	}
	for _, code := range waited {
		if met.Waited[code] == 0 {
			t.Errorf("%q was never answered to a command that waited", code)
		}
	}
	if t.Failed() {
		t.Logf("operations %v\ncodes %v\nafter a wait %v", met.Ops, met.Codes, met.Waited)
	}
}

var (
	modelTime = flag.Duration("model.time", 0, "compare with the model for so long; 0 does not")
	modelOps  = flag.Int64("model.ops", 10_000_000, "end the comparison after so many operations")
	modelSeed = flag.Uint64("model.seed", 0, "where the comparison begins; 0 is drawn at random")
)

// Millions of operations leave no difference. The outcome is one line of JSON.
// Without -model.time (make model) a few thousand have to do.
func TestModelForLong(t *testing.T) {
	limit, most := *modelTime, *modelOps
	if limit == 0 {
		limit, most = time.Minute, 20_000
	}
	first := *modelSeed
	if first == 0 {
		first = rand.Uint64() >> 12 // short enough for every reader of JSON
	}
	const commands = 400 // of one run
	var (
		seeds, done atomic.Int64
		mu          sync.Mutex
		met         spacetest.Coverage
		found       []*spacetest.DifferenceError
		began       = time.Now()
		workers     sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for time.Since(began) < limit && done.Load() < most {
				coverage, difference := spacetest.Drive(first+uint64(seeds.Add(1)-1), commands)
				done.Add(int64(coverage.Operations()))
				mu.Lock()
				met.Add(coverage)
				if difference != nil {
					found = append(found, difference)
				}
				stop := len(found) > 0
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	workers.Wait()
	for _, d := range found {
		t.Error(d)
	}
	took := time.Since(began)
	line, err := json.Marshal(map[string]any{
		"operations": met.Operations(), "commands": met.Commands, "differences": len(found), "seed": first, "runs": seeds.Load(),
		"seconds": took.Seconds(), "operations_per_second": int(float64(met.Operations()) / took.Seconds()),
		"ops": met.Ops, "codes": byWord(met.Codes), "codes_after_wait": byWord(met.Waited),
	})
	if err != nil {
		t.Fatal(err)
	}
	if *modelTime > 0 {
		fmt.Fprintf(os.Stdout, "%s\n", line)
	}
}

func byWord(codes map[space.Code]int) map[string]int {
	words := map[string]int{}
	for code, n := range maps.All(codes) {
		words[code.String()] = n
	}
	return words
}

// TestDefinitionsAreListedInOrder keeps listings stable.
func TestDefinitionsAreListedInOrder(t *testing.T) {
	p := space.New(0, testHistory)
	for _, id := range []space.ID{3, 1, 2} {
		c := space.DefineCommand(&space.Definition{ID: id, Name: fmt.Sprint("s", id)})
		p.Apply(0, &c)
	}
	var ids []space.ID
	for _, d := range p.Definitions() {
		ids = append(ids, d.ID)
	}
	if !slices.Equal(ids, []space.ID{1, 2, 3}) {
		t.Fatal(ids)
	}
}

func decode(b []byte) any {
	v, err := msgp.Decode(b)
	if err != nil {
		panic(err)
	}
	return v
}

func encode(v any) []byte {
	b, err := msgp.AppendValue(nil, v)
	if err != nil {
		panic(err)
	}
	return b
}
