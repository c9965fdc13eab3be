package lint

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

func checkPure(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		if !within(pkg.Dir, core) || testSupport(pkg.Dir) {
			continue
		}
		for _, file := range pkg.Files {
			if file.Test {
				continue
			}
			for _, imp := range file.Imports {
				for _, impure := range impureImports {
					if within(imp.Path, []string{impure.path}) {
						found = append(found, Finding{Path: file.Path, Line: imp.Line,
							Text: fmt.Sprintf("imports %s: %s", imp.Path, impure.why)})
					}
				}
			}
			found = append(found, t.impureCode(file)...)
		}
	}
	return found
}

// impureCode finds goroutines and calls of the clock or the scheduler.
func (t *Tree) impureCode(file *File) []Finding {
	var found []Finding
	report := func(n ast.Node, text string) {
		found = append(found, Finding{Path: file.Path, Line: t.line(n.Pos()), Text: text})
	}
	names := importNames(file.Syntax)
	ast.Inspect(file.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "starts a goroutine: the core is driven by its one owner")
		case *ast.SelectStmt:
			report(n, "waits on channels: the core never blocks")
		case *ast.SelectorExpr:
			ident, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			if pkg := names[ident.Name]; slices.Contains(impureCalls[pkg], n.Sel.Name) {
				report(n, fmt.Sprintf("uses %s.%s: time and surroundings reach the core inside a command", pkg, n.Sel.Name))
			}
		}
		return true
	})
	return found
}

// importNames maps the name by which a file calls a package to its import path.
func importNames(syntax *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range syntax.Imports {
		target := strings.Trim(spec.Path.Value, "\"`")
		if spec.Name != nil {
			names[spec.Name.Name] = target
		} else {
			names[path.Base(target)] = target
		}
	}
	return names
}

func checkInit(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			for _, decl := range file.Syntax.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if ok && fn.Recv == nil && fn.Name.Name == "init" && !file.Generated {
					found = append(found, Finding{Path: file.Path, Line: t.line(fn.Pos()),
						Text: "func init runs by being imported: build the value where it is used and pass it"})
				}
			}
		}
	}
	return found
}

func checkFileLength(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			if file.Lines > fileLinesMax && !file.Test && !file.Generated {
				found = append(found, Finding{Path: file.Path,
					Text: fmt.Sprintf("%d lines, at most %d: split it by noun", file.Lines, fileLinesMax)})
			}
		}
	}
	return found
}

func checkPackageComment(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		var ships, documented bool
		for _, file := range pkg.Files {
			ships = ships || shipped(file)
			documented = documented || shipped(file) && strings.TrimSpace(file.Syntax.Doc.Text()) != ""
		}
		if ships && !documented {
			found = append(found, Finding{Path: pkg.Dir,
				Text: "no package comment: doc.go says what it is, the types a reader meets, what it promises and what it does not do"})
		}
	}
	return found
}

func checkPackageName(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		if base := path.Base(pkg.Dir); slices.Contains(vaguePackageNames, base) {
			found = append(found, Finding{Path: pkg.Dir,
				Text: fmt.Sprintf("%q is not an idea: name what it is about, or keep it private beside its caller", base)})
		}
	}
	return found
}
