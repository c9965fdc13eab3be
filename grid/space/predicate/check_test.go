package predicate

import (
	"errors"
	"strings"
	"testing"
)

// Check lets pass what can be true and something else, and refuses the rest.
func TestCheck(t *testing.T) {
	fields := map[string]Type{
		"any": Any, "bool": Bool, "int": Int, "float": Float, "number": Number, "string": String,
		"bytes": Bytes, "time": Time, "list": List, "map": Map, "map.x": Any,
	}
	known := func(path string) (Type, bool) {
		declared, ok := fields[path]
		return declared, ok
	}
	for _, c := range []struct {
		text string
		says string // "" if it passes
	}{
		{`any = 1 and any < 'x' and any contains 2 and any prefix 'x' and any + 1 > 2`, ""},
		{`int = 1 or int > 1.5 or float = 1 or number = 1.5 or int = float`, ""},
		{`bool and time > ts '2026-01-01T00:00:00Z' and bytes prefix x'00' and list contains 'x' and map = {x: 1}`, ""},
		{`string in ('a', 'b') and string is not null and list = [1] and map.x = 1`, ""},
		{`int + float * number > 0 and list contains int + 1`, ""},
		{`strng = 'x'`, "no field strng"},
		{`any = strng`, "no field strng"},
		{`bool = 1 or not (list contains strng)`, "bool and number"},
		{`string = "text"`, "single quotes"},
		{`map.y = 1`, "no field map.y"},
		{`string = 1`, "string and number"},
		{`string <> 1`, "string and number"},
		{`not string < 1`, "string and number"},
		{`string = int`, "string and int"},
		{`string`, "string and bool"},
		{`int = 1.5`, "fraction"},
		{`int in (1, 1.5)`, "fraction"},
		{`int in (1, 'x')`, "int and string"},
		{`int prefix 'x'`, "int and string"},
		{`string prefix x'00'`, "string and bytes"},
		{`string contains 'x'`, "only a list contains"},
		{`list < any`, "no order"},
		{`any >= map`, "no order"},
		{`string + 1 > 2`, "string + 1 computes with string"},
		{`-time is null`, "computes with time"},
		{`int + 1 = 'x'`, "number and string"},
	} {
		err := parsed(t, c.text).Check(known)
		if c.says == "" && err == nil {
			continue
		}
		if refusal, ok := errors.AsType[*Error](err); !ok || c.says == "" || refusal.Offset != -1 || !strings.Contains(refusal.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.text, err, c.says)
		}
	}
}
