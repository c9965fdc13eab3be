package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
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

// The labels that the rule looks for: one of the letters under which design
// pages number their rules, and a number in the range they use. Percentiles
// (P50, P99) lie outside it.
const labelPattern = `[SACDPWN](?:[1-9]|1[0-5])`

var (
	labelInText = regexp.MustCompile(`\b` + labelPattern + `\b`)
	labelInName = regexp.MustCompile(`^(?:Test|Benchmark|Fuzz|Example)_?` + labelPattern + `(?:[A-Z_]|$)`)

	// Quoted and code-spanned text is data: a seat, a key, a wire value.
	quotedText = regexp.MustCompile("`[^`\n]*`|\"[^\"\n]*\"|'\\w+'")
	notations  = regexp.MustCompile(strings.Join(labelledNotations, "|"))
)

func checkLabels(t *Tree) []Finding {
	const text = "%s is a label of a design page: state the rule in words"
	var found []Finding
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			for _, group := range file.Syntax.Comments {
				for _, comment := range group.List {
					first := t.line(comment.Pos())
					for i, line := range strings.Split(comment.Text, "\n") {
						if label := findLabel(line); label != "" {
							found = append(found, Finding{Path: file.Path, Line: first + i, Text: fmt.Sprintf(text, label)})
						}
					}
				}
			}
			for _, decl := range file.Syntax.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && labelInName.MatchString(fn.Name.Name) {
					found = append(found, Finding{Path: file.Path, Line: t.line(fn.Pos()), Text: fmt.Sprintf(text, fn.Name.Name)})
				}
			}
		}
	}
	for _, page := range t.Pages {
		for line, label := range pageLabels(page.Text) {
			found = append(found, Finding{Path: page.Path, Line: line, Text: fmt.Sprintf(text, label)})
		}
	}
	return found
}

// findLabel returns the first label in a line of prose, or "".
func findLabel(line string) string {
	line = quotedText.ReplaceAllString(line, " ")
	line = notations.ReplaceAllString(line, " ")
	return labelInText.FindString(line)
}

// pageLabels yields line numbers and labels of a Markdown text, fenced blocks
// left out.
func pageLabels(text string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		fenced := false
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
				continue
			}
			if label := findLabel(line); label != "" && !fenced && !yield(i+1, label) {
				return
			}
		}
	}
}

var unfinishedWords = regexp.MustCompile(`\b(?:TODO|FIXME|XXX|HACK)\b`)

func checkUnfinished(t *Tree) []Finding {
	var found []Finding
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			for _, group := range file.Syntax.Comments {
				for _, comment := range group.List {
					if word := unfinishedWords.FindString(comment.Text); word != "" {
						found = append(found, Finding{Path: file.Path, Line: t.line(comment.Pos()),
							Text: word + ": finish it or file it; a comment says what is, not what should be"})
					}
				}
			}
			found = append(found, t.skippedTests(file)...)
		}
	}
	return found
}

// skippedTests finds tests that are switched off without a condition: a Skip as
// a statement of the test's own body. A Skip under an if (testing.Short, a
// missing program) is a choice and passes.
func (t *Tree) skippedTests(file *File) []Finding {
	var found []Finding
	if !file.Test {
		return nil
	}
	for _, decl := range file.Syntax.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil || !strings.HasPrefix(fn.Name.Name, "Test") {
			continue
		}
		for _, stmt := range fn.Body.List {
			if call := skipCall(stmt); call != token.NoPos {
				found = append(found, Finding{Path: file.Path, Line: t.line(call),
					Text: fn.Name.Name + " is switched off: make it pass or remove it"})
			}
		}
	}
	return found
}

func skipCall(stmt ast.Stmt) token.Pos {
	expr, ok := stmt.(*ast.ExprStmt)
	if !ok {
		return token.NoPos
	}
	call, ok := expr.X.(*ast.CallExpr)
	if !ok {
		return token.NoPos
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
		return token.NoPos
	}
	return call.Pos()
}
