package bugs

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// Bug is one way in which the product could be wrong.
type Bug struct {
	Name     string
	Wrong    string // what is wrong, in a sentence
	Catchers []Catcher
	Patches  []Patch
}

// Patch replaces some lines of a file, which it must have once.
type Patch struct {
	File     string // from the root of the module
	Old, New string
}

// The lines that part a bug's file. A file is
//
//	wrong: a sentence
//	catch: test ./grid/space TestSomething
//	file: grid/space/apply.go
//	<<<<
//	the old lines
//	====
//	the new lines
//	>>>>
//
// with any number of catchers and of patches. A file stays the same until another
// is named.
const (
	oldMark = "<<<<"
	newMark = "===="
	endMark = ">>>>"
)

// Parse reads a bug.
func Parse(name, text string) (*Bug, error) {
	b := &Bug{Name: name}
	refuse := func(n int, format string, args ...any) (*Bug, error) {
		return nil, fmt.Errorf("bugs: %s: line %d: %s", name, n+1, fmt.Sprintf(format, args...))
	}
	var file string
	var part *strings.Builder // where lines go inside of a patch
	var before, after strings.Builder
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case line == oldMark && part == nil:
			before.Reset()
			after.Reset()
			part = &before
			continue
		case line == newMark && part == &before:
			part = &after
			continue
		case line == endMark && part == &after:
			if file == "" || before.Len() == 0 {
				return refuse(n, "a patch needs a file and old lines")
			}
			b.Patches = append(b.Patches, Patch{file, before.String(), after.String()})
			part = nil
			continue
		case part != nil:
			part.WriteString(line + "\n")
			continue
		case line == "":
			continue
		}
		word, rest, ok := strings.Cut(line, ": ")
		switch {
		case ok && word == "wrong" && b.Wrong == "":
			b.Wrong = rest
		case ok && word == "catch":
			c, err := parseCatcher(rest)
			if err != nil {
				return refuse(n, "%v", err)
			}
			b.Catchers = append(b.Catchers, c)
		case ok && word == "file":
			file = rest
		default:
			return refuse(n, "%q is neither wrong, catch nor file", line)
		}
	}
	if part != nil || b.Wrong == "" || len(b.Catchers) == 0 || len(b.Patches) == 0 {
		return nil, fmt.Errorf("bugs: %s: it needs a sentence, a catcher and a patch, all of it to the end", name)
	}
	return b, nil
}

// Load reads all bugs of a folder, by name.
func Load(dir string) ([]*Bug, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.bug"))
	if err != nil {
		return nil, fmt.Errorf("bugs: %w", err)
	}
	var all []*Bug
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("bugs: %w", err)
		}
		b, err := Parse(strings.TrimSuffix(filepath.Base(file), ".bug"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// Apply returns the changed files of the module at root. Each patch must apply to
// one place, and what comes of it must be Go.
func (b *Bug) Apply(root string) (map[string]string, error) {
	changed := map[string]string{}
	for _, p := range b.Patches {
		text, ok := changed[p.File]
		if !ok {
			original, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p.File)))
			if err != nil {
				return nil, fmt.Errorf("bugs: %s: %w", b.Name, err)
			}
			text = string(original)
		}
		if n := strings.Count(text, p.Old); n != 1 {
			return nil, fmt.Errorf("bugs: %s: %s has the old lines %d times, want once; they begin with %q", b.Name, p.File, n, firstLine(p.Old))
		}
		changed[p.File] = strings.Replace(text, p.Old, p.New, 1)
	}
	var failed error
	for file, text := range changed {
		if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); err != nil {
			failed = errors.Join(failed, fmt.Errorf("bugs: %s: %w", b.Name, err))
		}
	}
	return changed, failed
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// Overlay writes the changed files into dir and returns the list that go build
// -overlay takes.
func (b *Bug) Overlay(root, dir string) (string, error) {
	changed, err := b.Apply(root)
	if err != nil {
		return "", err
	}
	var overlay struct {
		Replace map[string]string `json:"Replace"`
	}
	overlay.Replace = map[string]string{}
	for file, text := range changed {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("bugs: %w", err)
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(file))] = to
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", fmt.Errorf("bugs: %w", err)
	}
	at := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(at, list, 0o600); err != nil {
		return "", fmt.Errorf("bugs: %w", err)
	}
	return at, nil
}
