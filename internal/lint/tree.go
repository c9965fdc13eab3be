package lint

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Tree is what the rules look at: the Go packages and the Markdown pages of one
// module, parsed and in path order.
type Tree struct {
	Module   string // path in the module line of go.mod
	Packages []*Package
	Pages    []*Page

	fset *token.FileSet
}

// Package is one directory with Go files in it. External test packages
// (package foo_test) are filed with the package they test.
type Package struct {
	Dir   string // slash-separated, relative to the module root; "." for the root
	Files []*File
}

// File is one Go file.
type File struct {
	Path      string
	Test      bool // its name ends in _test.go
	Generated bool // carries the standard "Code generated … DO NOT EDIT." line
	Lines     int
	Syntax    *ast.File
	Imports   []Import
}

// Import is one import declaration.
type Import struct {
	Path string
	Line int
}

// Page is one Markdown file.
type Page struct {
	Path string
	Text string
}

// Load parses every Go and Markdown file of the module whose root is fsys.
// It leaves out what the go command leaves out (testdata, vendor, names that
// begin with a dot or an underscore) and modules nested in this one. Build
// constraints are ignored: a rule holds on every platform.
func Load(fsys fs.FS) (*Tree, error) {
	gomod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("lint: the tree has no module: %w", err)
	}
	t := &Tree{fset: token.NewFileSet()}
	if t.Module = modulePath(gomod); t.Module == "" {
		return nil, errors.New("lint: go.mod has no module line")
	}
	byDir := map[string]*Package{}
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if name != "." && skipped(fsys, name) {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular() || strings.HasPrefix(path.Base(name), "."):
			return nil
		}
		switch path.Ext(name) {
		case ".md":
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			t.Pages = append(t.Pages, &Page{Path: name, Text: string(text)})
		case ".go":
			file, err := t.parse(fsys, name)
			if err != nil {
				return err
			}
			dir := path.Dir(name)
			if byDir[dir] == nil {
				byDir[dir] = &Package{Dir: dir}
				t.Packages = append(t.Packages, byDir[dir])
			}
			byDir[dir].Files = append(byDir[dir].Files, file)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lint: read the tree: %w", err)
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Dir, b.Dir) })
	return t, nil
}

func skipped(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if dir == "bin" || dir == "tmp" { // what is built and tried here, never committed
		return true
	}
	if base == "testdata" || base == "vendor" || base == "node_modules" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

func modulePath(gomod []byte) string {
	for line := range bytes.Lines(gomod) {
		if rest, ok := bytes.CutPrefix(line, []byte("module ")); ok {
			return strings.Trim(string(rest), " \t\r\n\"")
		}
	}
	return ""
}

func (t *Tree) parse(fsys fs.FS, name string) (*File, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	file := &File{
		Path:      name,
		Test:      strings.HasSuffix(name, "_test.go"),
		Generated: ast.IsGenerated(syntax),
		Lines:     bytes.Count(src, []byte("\n")),
		Syntax:    syntax,
	}
	for _, spec := range syntax.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		file.Imports = append(file.Imports, Import{Path: target, Line: t.line(spec.Pos())})
	}
	return file, nil
}

func (t *Tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// own returns the directory of an import of this module, and whether it is one.
func (t *Tree) own(importPath string) (dir string, ok bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// testSupport reports whether dir is a package that exists for tests: by the
// convention of the standard library its name ends in "test" (gridtest).
func testSupport(dir string) bool {
	base := path.Base(dir)
	return strings.HasSuffix(base, "test") && base != "test"
}

// within reports whether dir matches one of the patterns: a directory, a
// directory and all below it ("grid/space/..."), or everything ("...").
func within(dir string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "..." {
			return true
		}
		root, below := strings.CutSuffix(pattern, "/...")
		return dir == root || below && strings.HasPrefix(dir, root+"/")
	})
}
