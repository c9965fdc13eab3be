package lint

import (
	"fmt"
	"slices"
	"strings"
)

func checkLayers(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		i := slices.IndexFunc(layers, func(l layer) bool { return within(pkg.Dir, []string{l.pkg}) })
		if i < 0 && !testSupport(pkg.Dir) && slices.ContainsFunc(pkg.Files, shipped) {
			found = append(found, Finding{Path: pkg.Dir,
				Text: "this package has no row in the import table: decide in internal/lint/rules.go what it may know"})
			continue
		}
		if i < 0 || testSupport(pkg.Dir) {
			continue
		}
		row := layers[i]
		for _, file := range pkg.Files {
			if file.Test {
				continue
			}
			for _, imp := range file.Imports {
				if text := t.breaks(row, pkg.Dir, imp.Path); text != "" {
					found = append(found, Finding{Path: file.Path, Line: imp.Line, Text: text})
				}
			}
		}
	}
	return found
}

// breaks says how an import offends against the row of the importing package,
// or nothing.
func (t *Tree) breaks(row layer, from, importPath string) string {
	dir, ours := t.own(importPath)
	switch {
	case !ours && row.stdOnly && thirdParty(importPath):
		return fmt.Sprintf("%s takes only the standard library, not %s", from, importPath)
	case !ours || testSupport(dir): // test support has its own rule
		return ""
	case within(dir, []string{from + "/..."}) || within(dir, row.may):
		return ""
	case len(row.may) == 0:
		return fmt.Sprintf("%s may not import %s: it imports nothing of this module", from, dir)
	default:
		return fmt.Sprintf("%s may not import %s: only %s; declare an interface for what it needs and let cmd join them",
			from, dir, strings.Join(row.may, ", "))
	}
}

func checkOwners(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			for _, imp := range file.Imports {
				i := slices.IndexFunc(owners, func(o owner) bool { return ofLibrary(imp.Path, o.library) })
				if i < 0 || within(pkg.Dir, owners[i].by) {
					continue
				}
				if owners[i].tests && (file.Test || testSupport(pkg.Dir)) {
					continue
				}
				found = append(found, Finding{Path: file.Path, Line: imp.Line,
					Text: fmt.Sprintf("%s may not import %s: %s", pkg.Dir, imp.Path, owners[i].why)})
			}
		}
	}
	return found
}

func checkTestSupport(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		if testSupport(pkg.Dir) || within(pkg.Dir, proving) {
			continue
		}
		starts := within(pkg.Dir, []string{"bench/...", "cmd/..."})
		for _, file := range pkg.Files {
			if file.Test {
				continue
			}
			for _, imp := range file.Imports {
				dir, ours := t.own(imp.Path)
				if ours && (testSupport(dir) || within(dir, proving) && !starts) {
					found = append(found, Finding{Path: file.Path, Line: imp.Line,
						Text: fmt.Sprintf("%s is made for tests; shipped code may not import it", dir)})
				}
			}
		}
	}
	return found
}

func shipped(f *File) bool { return !f.Test }

// thirdParty reports whether an import path is neither of the standard library
// nor, by the caller's check, of this module: its first element has a dot.
func thirdParty(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".")
}

// ofLibrary reports whether importPath is the module or a package in it, at any
// major version. Sibling modules (raft-boltdb beside raft) do not match.
func ofLibrary(importPath, module string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}
