package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// A label is one of the letters under which rules tend to be numbered, and a
// small number. Percentiles (P50, P99) lie outside the range.
const labelPattern = `[SACDPWN](?:[1-9]|1[0-5])`

var (
	labelInText = regexp.MustCompile(`\b` + labelPattern + `\b`)
	labelInName = regexp.MustCompile(`^(?:Test|Benchmark|Fuzz|Example)_?` + labelPattern + `(?:[A-Z_]|$)`)

	// Quoted and code-spanned text is data: a seat, a key, a wire value.
	quotedText = regexp.MustCompile("`[^`\n]*`|\"[^\"\n]*\"|'\\w+'")
	notations  = regexp.MustCompile(strings.Join(labelledNotations, "|"))
)

func checkLabels(t *Tree) []Finding {
	const text = "%s sends the reader elsewhere: state the rule in words"
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
