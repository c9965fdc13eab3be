package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// jsonRows are entries by their keys, each as JSON in one form: members sorted,
// numbers by value. Two entries are equal as JSON values if and only if their
// texts are.
type jsonRows map[string]string

// readRows reads a file of JSON lines, compressed if its name ends in .gz. The key
// is the text of a member of each line.
func readRows(path, key string) (rows jsonRows, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := io.Reader(f)
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		in = z
	}
	rows = jsonRows{}
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxRowBytes)
	for n := 1; s.Scan(); n++ {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		fields, text, err := oneForm(s.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		id, ok := fields[key]
		if !ok {
			return nil, fmt.Errorf("%s, line %d: no %q", path, n, key)
		}
		k := fmt.Sprint(id)
		if _, twice := rows[k]; twice {
			return nil, fmt.Errorf("%s, line %d: %s %s is there twice", path, n, key, k)
		}
		rows[k] = text
	}
	return rows, s.Err()
}

// oneForm returns a JSON object with its members, and as text in one form.
func oneForm(line []byte) (map[string]any, string, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		return nil, "", err
	}
	for name, v := range fields {
		fields[name] = byValue(v)
	}
	b, err := json.Marshal(fields) // which sorts members
	return fields, string(b), err
}

// byValue turns numbers into integers where they are, into floats elsewhere.
func byValue(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = byValue(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = byValue(v[name])
		}
	}
	return v
}

// rowsOf turns entries of fields into rows.
func rowsOf(entries map[string]workload.StoredEntry) (jsonRows, error) {
	rows := make(jsonRows, len(entries))
	for key, e := range entries {
		if e.Kind != grid.Fields {
			return nil, fmt.Errorf("entry %q has no fields", key)
		}
		b, err := msgp.AppendJSON(nil, e.Value)
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", key, err)
		}
		if _, rows[key], err = oneForm(b); err != nil {
			return nil, fmt.Errorf("entry %q: %w", key, err)
		}
	}
	return rows, nil
}

// difference counts the rows that are not the same, and says which the first is.
func difference(want, have jsonRows) (n int, first string) {
	note := func(format string, args ...any) {
		if n++; n == 1 {
			first = fmt.Sprintf(format, args...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch got, ok := have[key]; {
		case !ok:
			note("%q is missing", key)
		case got != want[key]:
			note("%q is %s and should be %s", key, got, want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[key]; !ok {
			note("%q is there and should not be", key)
		}
	}
	return n, first
}
