package main

import (
	"strings"
	"testing"
)

// What is wrong with the settings of a sink is said before the cluster agrees on
// it, and what is right passes without a database.
func TestCheckSink(t *testing.T) {
	for _, c := range []struct{ name, config, says string }{
		{"smallest", "dsn: env:DB", ""},
		{"as JSON", `{"dsn":"file:/run/db","schema":"own","journal":true}`, ""},
		{"all", `
dsn: env:DB
mappings:
  - {space: orders, table: orders, whole: true, columns: [{name: id, type: text, from: $key}]}
filter:
  steps: [{drop: [notes]}, {set: {field: seen, value: true}}]
`, ""},
		{"nothing", "", "env:NAME or file:path"},
		{"a password in the open", "dsn: postgres://me:secret@db/x", "env:NAME or file:path"},
		{"no name", "dsn: 'env:'", "env:NAME or file:path"},
		{"a slip", "dsn: env:DB\njurnal: true", "jurnal"},
		{"a slip in a mapping", "dsn: env:DB\nmappings: [{space: a, tabel: a}]", "tabel"},
		{"no key", "dsn: env:DB\nmappings: [{space: a, table: a, columns: [{name: x, type: text}]}]", "$key"},
		{"twice", "dsn: env:DB\nmappings: [{space: a, table: a, columns: [{name: k, type: text, from: $key}]}, {space: a, table: b}]", "twice"},
		{"a step of nothing", "dsn: env:DB\nfilter: {steps: [{}]}", "step 1"},
		{"branches", "dsn: env:DB\nfilter: {branches: {a: []}}", "a sink for each"},
		{"two documents", "dsn: env:DB\n---\ndsn: env:DB", "more than one"},
	} {
		err := checkSink(kindPostgres, c.config)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", c.name, err)
		}
	}
	if err := checkSink("somebody's", "anything"); err != nil {
		t.Errorf("a kind of another program: %v", err)
	}
}
