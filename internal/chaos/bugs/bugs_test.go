package bugs_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/internal/chaos/bugs"
)

var (
	catch  = flag.Bool("bugs.catch", false, "run the catchers of all bugs")
	only   = flag.String("bugs.only", "", "a pattern for the names of those that are run")
	sound  = flag.Bool("bugs.sound", true, "run every catcher without a bug first")
	enough = 24 // bugs there have to be
)

func load(t *testing.T) (root string, all []*bugs.Bug) {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if all, err = bugs.Load("testdata"); err != nil {
		t.Fatal(err)
	}
	return root, all
}

// Every bug applies to the source as it is, in one place for each patch, and
// leaves Go behind; every catcher that is a test names one that exists.
func TestEveryBugApplies(t *testing.T) {
	root, all := load(t)
	if len(all) < enough {
		t.Errorf("there are %d bugs, want %d", len(all), enough)
	}
	for _, b := range all {
		if _, err := b.Apply(root); err != nil {
			t.Error(err)
		}
		for _, c := range b.Catchers {
			if c.Kind == "test" && !exists(t, filepath.Join(root, c.Args[0]), c.Args[1]) {
				t.Errorf("%s: %s has no test %s", b.Name, c.Args[0], c.Args[1])
			}
		}
	}
}

// exists reports whether a folder has all tests that a pattern lists.
func exists(t *testing.T, dir, pattern string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	for name := range strings.SplitSeq(pattern, "|") {
		if !strings.Contains(text.String(), "func "+strings.Trim(name, "^$")+"(") {
			return false
		}
	}
	return true
}

// A bug that is written down wrongly is refused, with the line.
func TestParseRefuses(t *testing.T) {
	good := "wrong: it is.\ncatch: sim 1-2\nfile: a.go\n<<<<\nold\n====\nnew\n>>>>\n"
	if b, err := bugs.Parse("good", good); err != nil || b.Patches[0] != (bugs.Patch{File: "a.go", Old: "old\n", New: "new\n"}) {
		t.Fatalf("%+v, %v", b, err)
	}
	for why, text := range map[string]string{
		"no sentence":     strings.Replace(good, "wrong: it is.\n", "", 1),
		"no catcher":      strings.Replace(good, "catch: sim 1-2\n", "", 1),
		"unknown catcher": strings.Replace(good, "sim 1-2", "luck 1-2", 1),
		"no seeds":        strings.Replace(good, "1-2", "2-1", 1),
		"no file":         strings.Replace(good, "file: a.go\n", "", 1),
		"no old lines":    strings.Replace(good, "old\n", "", 1),
		"no end":          strings.Replace(good, ">>>>\n", "", 1),
		"stray line":      good + "and more\n",
	} {
		if b, err := bugs.Parse("bad", text); err == nil {
			t.Errorf("%s: it reads as %+v", why, b)
		}
	}
}

// A patch that fits nowhere, or in two places, is refused, and so is one that
// leaves something that is not Go.
func TestApplyRefuses(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("package a\n\nvar x = 1\n\nvar y = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for why, p := range map[string]bugs.Patch{
		"nowhere":    {File: "a.go", Old: "var z = 1\n", New: ""},
		"two places": {File: "a.go", Old: " = 1\n", New: ""},
		"not Go":     {File: "a.go", Old: "var x = 1\n", New: "var x = \n)\n"},
		"no file":    {File: "b.go", Old: "x", New: "y"},
	} {
		if _, err := (&bugs.Bug{Name: "b", Patches: []bugs.Patch{p}}).Apply(root); err == nil {
			t.Errorf("%s: it applies", why)
		}
	}
	changed, err := (&bugs.Bug{Name: "b", Patches: []bugs.Patch{{File: "a.go", Old: "x = 1\n", New: "x = 2\n"}}}).Apply(root)
	if err != nil || changed["a.go"] != "package a\n\nvar x = 2\n\nvar y = 1\n" {
		t.Errorf("%q, %v", changed, err)
	}
}

// Every bug is caught by one of those who should.
func TestBugsAreCaught(t *testing.T) {
	if !*catch {
		t.Skip("run it with make bugs")
	}
	root, all := load(t)
	pattern, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	r := &bugs.Runner{Root: root, Temp: t.TempDir(), Sound: *sound}
	var results []bugs.Result
	for _, b := range all {
		if !pattern.MatchString(b.Name) {
			continue
		}
		res := r.Catch(context.Background(), b)
		t.Logf("%s: caught by %q in %d runs, %.1f s: %s %s", res.Bug, res.Caught, res.Runs, res.Seconds, res.Said, res.Trouble)
		results = append(results, res)
	}
	missed, err := bugs.Write(os.Stdout, results)
	if err != nil {
		t.Fatal(err)
	}
	if missed > 0 {
		t.Errorf("%d bugs are not noticed by anybody", missed)
	}
}
