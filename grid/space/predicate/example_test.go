package predicate_test

import (
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// An entry is matched as it rests, encoded.
func Example() {
	free, err := predicate.Parse(`status = 'open' and price * 2 <= ? and seat.row between 1 and 10`, 120)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, price := range []any{59.5, 61, nil} {
		fields, err := msgp.AppendValue(nil, map[string]any{
			"status": "open", "price": price, "seat": map[string]any{"row": 4, "number": 17},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(price, free.Match(fields))
	}
	// Output:
	// 59.5 true
	// 61 false
	// <nil> false
}

// What is wrong is refused where it is, with what to write instead.
func ExampleParse() {
	for _, text := range []string{
		`status == 'open'`,
		`holder = null`,
		`name like '%smith'`,
		`price < 10 < 20`,
	} {
		_, err := predicate.Parse(text)
		fmt.Println(err)
	}
	// Output:
	// predicate: at byte 7: == means nothing here (write =)
	// predicate: at byte 7: nothing is ever equal to null, above or below it (write `is null` or `is not null`)
	// predicate: at byte 5: only patterns that end in their one % are known, without _ and \ (for an exact beginning write `prefix`, for a whole value =)
	// predicate: at byte 11: a second question about one value (join conditions with `and`; for a range write `x between a and b`)
}

// Names keep arguments apart where there are many.
func ExampleParse_named() {
	p, err := predicate.Parse(`section in :sections and price <= :most`,
		map[string]any{"sections": []string{"B", "A"}, "most": 80})
	fmt.Println(p, err)
	// Output: section in ('A', 'B') and price <= 80 <nil>
}

// A planner asks what an index must deliver.
func ExamplePredicate_Bound() {
	p, err := predicate.Parse(`row >= 3 and row < 7 and (section = 'A' or section = 'C')`)
	if err != nil {
		fmt.Println(err)
		return
	}
	row, _ := p.Bound("row")
	fmt.Printf("row from %x to %x, open %v\n", row.Low, row.High, row.HighOpen)
	section, _ := p.Bound("section")
	fmt.Printf("section one of %q\n", section.Equal)
	_, ok := p.Bound("price")
	fmt.Println("price", ok)
	// Output:
	// row from 03 to 07, open true
	// section one of ["\xa1A" "\xa1C"]
	// price false
}

// A predicate is held against what a space declares of its fields.
func ExamplePredicate_Check() {
	declared := map[string]predicate.Type{"status": predicate.String, "row": predicate.Int}
	for _, text := range []string{`status = open`, `row = '7'`} {
		p, err := predicate.Parse(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(p.Check(func(path string) (predicate.Type, bool) {
			t, ok := declared[path]
			return t, ok
		}))
	}
	// Output:
	// predicate: no field open (check its spelling; text is written in single quotes)
	// predicate: row = '7': int and string are never equal and have no order (compare with a value of the declared type)
}

// Predicates are put together from parts.
func ExampleAnd() {
	open, err := predicate.Eq("status", "open")
	if err != nil {
		fmt.Println(err)
		return
	}
	cheap, err := predicate.Parse(`price < 50 or discount`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(predicate.And(open, cheap))
	fmt.Println(predicate.Not(cheap))
	// Output:
	// status = 'open' and (price < 50 or discount = true) <nil>
	// price >= 50 and discount <> true <nil>
}
