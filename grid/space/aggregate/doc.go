// Package aggregate counts, sums and groups entries where they lie.
//
// A [Spec] says what is wanted: columns such as [Sum]("price"), the paths to
// group by, and how the rows of the answer are ordered, narrowed and cut. Each
// partition feeds its entries, as the canonical msgpack they rest in, to a
// [Partial]; partials travel encoded and are merged; the last one becomes a
// [Result] of typed rows.
//
//	spec := aggregate.Spec{
//		GroupBy: []string{"section"},
//		Columns: []aggregate.Column{aggregate.Count(), aggregate.Sum("price")},
//	}
//	p, err := aggregate.New(&spec)
//	err = p.Add(key, fields) // for each entry
//	result, err := p.Result()
//
// # Null
//
// A field that is absent or nil is null, and null is passed over: it is not
// counted by [CountOf], not summed, not the lowest, not distinct. A column
// without any value is null itself, but for counts, which are 0. Entries whose
// group field is null form a group of their own. An entry of opaque bytes has
// no fields.
//
// # Promises
//
// The result depends on the set of entries only: not on their order, nor on how
// they were spread over partials, nor on the order in which those were merged.
// Sums are exact whatever the numbers are: integers of any size stay integers,
// and a sum or an average with floats in it is the float nearest to the true
// one, since it is rounded once at the end. The integer 1 and the float 1.0 are
// one group and one distinct value.
//
// What a partial holds is bounded: see [MaxGroups], [MaxDistinct] and
// [MaxBytes]. Beyond a bound it fails with an error that says what to do, never
// with a result that leaves something out.
//
// The package keeps no state, starts nothing and knows neither partitions nor
// filters: its caller chooses the entries.
package aggregate
