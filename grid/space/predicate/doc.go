// Package predicate holds conditions on the fields of an entry, in a small
// language close to that of SQL, and matches them against entries as they rest:
// encoded, without decoding them and without allocating.
//
//	status in ('open', 'held') and price * seats <= 250 and not refunded
//
// # What a reader meets
//
// A [Predicate] comes from text ([Parse]), from bytes ([Decode]) or from the
// constructors ([Eq], [And], …), which all bring it to one normal form. Match
// asks it; Append and String give it back as bytes and as text; Check holds it
// against declared fields; Paths, Cost and [Bound] serve those who plan a
// search.
//
// # The language
//
//	a = 1   a <> 1   a < 1   a <= 1   a > 1   a >= 1     comparisons; != is <>
//	a between 1 and 9                                   a >= 1 and a <= 9
//	a in (1, 2, 3)                                      constants only; in none is false
//	a prefix 'abc'                                      a string, or bytes, that begins so
//	a like 'abc%'                                       the same; no other pattern is known
//	a contains 'x'                                      a list with an element equal to 'x'
//	a is null                                           absent, or nil
//	open                                                the same as open = true
//	not …   … and …   … or …   ( … )                    in this order of binding
//
// In, between, prefix, like and contains may follow a not, and null an `is not`.
// What is compared may be computed: + - * / % and the sign, between fields and
// constants. Keywords are written in any case, names are not.
//
// A name is a word of the letters a to z, digits and underscores; any other,
// and any keyword, is put in double quotes. Dots lead into maps: `seat.row` is
// the field row of the field seat, `"seat.row"` a field that has a dot in its
// name.
//
// Constants are 12, 1.5, 1e9, 'text' with a quote written twice, true, false,
// ts '2026-11-22T10:00:00Z' (RFC 3339), x'00ff', float '+Inf', [1, 2] and
// {row: 1}; ?, $1 and :name stand for arguments.
//
// # Values
//
// Two values are of one class if both are numbers, or of the same other kind.
//
//   - Numbers compare by value, exactly: 1 and 1.0 are equal, and no integer is
//     rounded. Strings and bytes compare bytewise, timestamps by time, false is
//     below true. Lists and maps are equal or not and have no order; numbers
//     inside them compare by value, and null inside them is equal to null.
//   - Values of different classes are not equal: where a is '1', a = 1 is false
//     and a <> 1 is true. They have no order: a < 2 is unknown.
//   - Null, which is an absent field or nil, compares as unknown with
//     everything. Only `is null` finds it. A prefix is unknown unless both are
//     strings or both bytes, `contains` unless the field is a list. A
//     computation is null if it has anything but numbers in it, an integer
//     above 9223372036854775807, a result that does not fit an int64, a divisor
//     of zero, or no result (infinity minus infinity).
//   - Integers compute as int64, division cuts towards zero and the remainder
//     has the sign of the dividend. With a float on either side both are
//     floats. NaN is refused as a constant and is never a result.
//
// Logic has three values, as in SQL. Not unknown is unknown; `and` is false if
// one side is, `or` true if one side is, and otherwise unknown if one side is.
// An entry matches only what is true of it: neither `a = 1` nor `not a = 1`
// matches an entry without a.
//
// # Promises
//
// The package is pure and keeps nothing: same predicate, same bytes, same
// answer on every machine. No text and no encoding makes it panic, recurse
// deeper than [MaxDepth] allows, or allocate more than in proportion to its
// limits. What could be true of no entry, such as `a = null` or 1 < 'x', is
// refused with an [*Error] that says where it is and what to write instead.
//
// It plans nothing: finding entries by a [Bound] is the business of whoever
// keeps indexes.
package predicate
