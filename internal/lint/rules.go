package lint

import (
	"cmp"
	"fmt"
	"slices"
)

// Rule is one promise about the repository.
type Rule struct {
	Name  string // short, used in findings
	Says  string // the promise, as a sentence
	check func(*Tree) []Finding
}

// Finding is one place where a rule is broken.
type Finding struct {
	Path string
	Line int // 0 when the finding is about the whole file or package
	Rule string
	Text string // what is there, and what to do instead
}

// String gives the finding in the form that editors follow.
func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", f.Path, f.Rule, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.Path, f.Line, f.Rule, f.Text)
}

// Rules lists every rule, in the order they are reported.
func Rules() []Rule {
	return []Rule{
		{"layers", "Imports within the module point towards grid/space; only cmd joins everything.", checkLayers},
		{"owners", "A third-party library is imported only by the packages that own it.", checkOwners},
		{"test-support", "What is made to test the house is not built into it.", checkTestSupport},
		{"pure", "The core has no goroutine, clock, randomness, I/O, log or lock.", checkPure},
		{"init", "No package runs code by being imported.", checkInit},
		{"file-length", "A file can be read in a sitting.", checkFileLength},
		{"package-comment", "Every package says what it is.", checkPackageComment},
		{"package-name", "A package is named for an idea, not for being shared.", checkPackageName},
		{"labels", "A rule is stated in words where it holds; a label such as a letter with a number sends the reader elsewhere.", checkLabels},
		{"unfinished", "What is on the main branch is finished.", checkUnfinished},
	}
}

// Check runs every rule over the tree. Findings come in the order of Rules, then
// by path and line.
func Check(t *Tree) []Finding {
	var all []Finding
	for _, rule := range Rules() {
		found := rule.check(t)
		for i := range found {
			found[i].Rule = rule.Name
		}
		slices.SortStableFunc(found, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
		})
		all = append(all, found...)
	}
	return all
}

// layer is a row of the import table: what the packages that match pkg may
// import of this module. A package may always import those below itself.
type layer struct {
	pkg     string
	may     []string
	stdOnly bool // no third-party import at all
}

// layers is the import table. The first row that matches a package decides; a
// package that no row matches is a finding, so that a new corner of the house
// gets its place by decision and not by accident. Test files are free: what may
// not be built upon may still be tested against.
var layers = []layer{
	// The noun. Everything points here, it points nowhere.
	{pkg: "grid/space/predicate/...", may: []string{"internal/msgp"}, stdOnly: true},
	{pkg: "grid/space/...", may: []string{"grid/space/...", "internal/msgp"}, stdOnly: true},
	{pkg: "internal/msgp/...", stdOnly: true},

	// The whole-cluster simulator and the fault injector drive the real parts.
	{pkg: "internal/sim/...", may: []string{"grid/...", "datapump/...", "writer/...", "reader/...", "processingunit/...", "gateway/...", "internal/..."}},
	{pkg: "internal/chaos/...", may: []string{"grid/...", "datapump/...", "writer/...", "reader/...", "processingunit/...", "gateway/...", "internal/..."}},
	{pkg: "internal/...", may: []string{"grid/space/...", "internal/..."}},

	// The cluster, from the inside out. The root wires the parts together, and
	// with them the pump, writer and reader of the embedded default; no part
	// knows the root. Handlers reach the grid through a seam that it declares.
	{pkg: "grid/replica/...", may: []string{"grid/space/...", "internal/..."}},
	{pkg: "grid/gossip/...", may: []string{"grid/space/...", "internal/..."}},
	{pkg: "grid/cluster/...", may: []string{"grid/space/...", "grid/replica/...", "grid/gossip/...", "internal/..."}},
	{pkg: "grid/...", may: []string{"grid/...", "datapump/...", "writer/...", "reader/...", "internal/..."}},

	// The outward flow and the way back know entries and changes, not clusters.
	{pkg: "datapump/filter/...", may: []string{"grid/space/...", "datapump", "internal/msgp"}},
	{pkg: "datapump/...", may: []string{"grid/space/...", "internal/..."}},
	{pkg: "writer/...", may: []string{"grid/space/...", "datapump/...", "internal/..."}},
	{pkg: "reader/...", may: []string{"grid/space/...", "internal/..."}},

	// What serves people and programs stands on the grid's public face.
	{pkg: "processingunit/...", may: []string{"grid", "grid/space/...", "internal/..."}},
	{pkg: "gateway/...", may: []string{"grid", "grid/space/...", "gateway/form", "internal/..."}},
	{pkg: "bench/...", may: []string{"grid", "grid/space/...", "grid/gossip", "datapump/...", "writer/...", "reader/...", "processingunit/...", "gateway/...", "internal/..."}},
	{pkg: "examples/...", may: []string{"grid", "grid/space", "processingunit/...", "datapump", "writer", "reader"}},
	{pkg: "docs/...", may: []string{"grid", "grid/space", "processingunit/...", "datapump", "writer", "reader"}},

	{pkg: "cmd/...", may: []string{"..."}},
}

// owner is a row of the ownership table: the only packages that may import a
// third-party library, so that it can be replaced, or its traps be guarded
// against, in one place.
type owner struct {
	library string // a module path, without its major version
	by      []string
	tests   bool // test files of any package may import it as well
	why     string
}

// owners lists the libraries whose use is confined. Others are free outside the
// core, whose layers take the standard library only.
var owners = []owner{
	{"github.com/hashicorp/raft", []string{"grid/replica/..."}, false,
		"agreement is reached through grid/replica"},
	{"github.com/hashicorp/memberlist", []string{"grid/cluster/..."}, false,
		"membership is read from grid/cluster"},
	{"github.com/hashicorp/go-hclog", []string{"grid/replica/...", "grid/cluster/..."}, true,
		"logs are written with log/slog; only the libraries that speak hclog get an adapter"},
	{"github.com/hashicorp/go-metrics", []string{"grid/replica/...", "grid/cluster/..."}, true,
		"metrics are published through one registry; only the libraries that need this one get a sink"},
	{"github.com/cockroachdb/pebble", []string{"internal/folder", "internal/store/...", "grid/replica/...", "writer/...", "reader/...", "internal/sim/..."}, true,
		"folders belong to internal/folder, keys and formats on disk to internal/store, the group logs to grid/replica"},
	{"github.com/jackc/pgx", []string{"writer/postgres/...", "bench/..."}, true,
		"PostgreSQL is written and read by writer/postgres"},
	{"go.yaml.in/yaml", []string{"datapump/filter", "cmd/..."}, true,
		"configuration is read where it comes in"},
	{"github.com/vmihailenco/msgpack", []string{"grid", "processingunit/...", "gateway/web/...", "bench/...", "examples/...", "cmd/..."}, true,
		"it may decode only what internal/msgp has scanned, at the typed edges"},
	{"github.com/tidwall/redcon", nil, false,
		"small hostile inputs stop it; gateway/resp has its own bounded scanner"},
	{"github.com/gorilla/websocket", []string{"gateway/web/...", "bench/...", "examples/...", "cmd/..."}, true,
		"WebSocket is spoken by the web door and its clients"},
	{"github.com/redis/go-redis", []string{"bench/...", "examples/..."}, true,
		"a Redis client is a peer to measure and to test with, not a part"},
	{"github.com/spf13/cobra", []string{"cmd/..."}, false,
		"only cmd reads the command line"},
	{"github.com/anishathalye/porcupine", []string{"internal/check/...", "internal/sim/...", "internal/chaos/..."}, true,
		"histories are checked by internal/check"},
	{"go.uber.org/goleak", nil, true,
		"leaks are looked for by tests"},
	{"pgregory.net/rapid", []string{"internal/sim/..."}, true,
		"properties are drawn by tests"},
}

// proving lists the packages that try the house out: they drive or judge its
// parts and are no part of it. Besides tests, bench and cmd may start them.
var proving = []string{"internal/sim/...", "internal/chaos/...", "internal/check/...", "internal/lint/..."}

// core lists the packages that must give the same answer for the same input on
// every replica, today and on replay.
var core = []string{"grid/space/...", "internal/msgp/..."}

// impureImports may not be imported by the core. sync/atomic may: reads run
// beside the one writer.
var impureImports = []struct {
	path string
	why  string
}{
	{"os/...", "the core does no I/O"},
	{"net/...", "the core does no I/O"},
	{"syscall/...", "the core does no I/O"},
	{"io/ioutil", "the core does no I/O"},
	{"database/...", "the core does no I/O"},
	{"log/...", "the core returns results, it does not log"},
	{"sync", "the core has one owner, who needs no lock"},
	{"math/rand/...", "the core is deterministic"},
	{"crypto/rand", "the core is deterministic"},
	{"testing/...", "support for tests lives in a package named …test"},
}

// impureCalls may not be called by the core: package path, then names.
var impureCalls = map[string][]string{
	"time":    {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
	"context": {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause", "AfterFunc"},
	"runtime": {"GC", "Gosched", "LockOSThread", "NumCPU", "NumGoroutine", "ReadMemStats", "GOMAXPROCS"},
}

// fileLinesMax is the length of the longest file. Most should be a third of it.
// Tests and generated files may be longer: a table grows with what it covers.
const fileLinesMax = 900

// vaguePackageNames say that code is shared, not what it is about.
var vaguePackageNames = []string{"base", "common", "helper", "helpers", "lib", "misc", "pkg", "shared", "util", "utils"}

// labelledNotations are phrases that hold what looks like a label and is a name
// that users say.
var labelledNotations = []string{
	`Amazon S3`,
	`S3 (bucket|object|storage|API)`,
	`S3-compatible`,
	`(?i:seats?|rows?|blocks?|gates?) [A-Z]\d+`,
}
