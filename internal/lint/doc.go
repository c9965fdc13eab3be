// Package lint holds the rules about the shape of this repository that no
// general linter knows, and checks them as an ordinary test: which package may
// import which, which package owns which third-party library, and what the pure
// core must not touch.
//
// The rules are tables in rules.go, each row with its reason. Load reads a tree
// of Go and Markdown files, Check runs every rule over it and returns Findings;
// the tests run Check over the repository itself and over small made-up trees in
// testdata, one or more for each rule, that break it.
//
// The rules look at syntax only (imports, statements, comments), never at types,
// so the check needs no build and takes well under a second. They see direct
// imports; what a permitted import brings in behind it is not followed, because
// the row of that package answers for it.
package lint
