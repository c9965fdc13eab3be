// Package msgp reads, writes, orders and edits MessagePack values as bytes.
//
// Entries rest, travel and are matched as MessagePack. This package is the
// one place that knows the format: every value that comes from outside goes
// through [Check] or [Canonical] before anything else looks at it, and what
// the grid stores is canonical, so that two entries are equal exactly if
// their bytes are.
//
// # Canonical form
//
// Every value has one canonical form:
//
//   - an integer takes the smallest form that holds it, a non-negative one
//     always an unsigned form;
//   - a float is 64 bits wide, also when it is integral; -0.0 becomes 0.0 and
//     NaN is refused;
//   - a length or count takes the smallest header that holds it; a string
//     stays a string and binary stays binary, whatever bytes they carry;
//   - a map has string or integer keys, each once, in the bytewise order of
//     their own canonical encoding. For strings that means shorter names
//     first, names of one length in bytewise order;
//   - a timestamp (extension type -1) lies in the years 0 to 9999 and takes
//     the smallest of its three forms; every other extension is refused.
//
// The integer 1 and the float 1.0 are different values with different bytes;
// [Compare] alone treats them as equal numbers.
//
// # JSON
//
// What JSON cannot say is said by an object with one reserved member.
// [FromJSON] understands these objects where [AppendJSON] writes them:
//
//	{"$bytes": "aGk="}                    binary, in standard base64
//	{"$time": "2026-01-02T03:04:05.6Z"}   a timestamp, RFC 3339
//	{"$float": "+Inf"}                    +Inf or -Inf
//	{"$string": "/w=="}                   a string that is not UTF-8, in base64
//	{"$map": [[1, "a"], ["b", 2]]}        a map as pairs
//
// The last serves maps with a key that no JSON object can have, and maps
// that would be mistaken for one of these objects.
//
// # What a reader meets
//
// [Check] and [Skip] validate. [KindOf] and the Read functions take a value
// apart, the Append functions put one together. [Canonical] normalises.
// [Field], [EachField], [SetField] and their kin work on canonical maps
// without decoding them, and [Locate] leads to a [Place] deep inside of one,
// to be changed there; [EditFields] changes many fields in one pass.
// [AppendJSON] and [FromJSON] lead to JSON and back without loss,
// [AppendValue] and [Decode] to Go values.
//
// # Promises
//
// No input makes a function of this package panic, recurse deeper than a
// small constant, or allocate from a length that the input merely declares.
// Nesting is bounded by [MaxDepth], values by [MaxValue]. Functions that
// return parts of their input return sub-slices; the caller owns both and
// copies what must outlive the input. Append-style functions never keep dst
// and expect it not to overlap their other arguments; when they fail they
// return dst at its old length.
//
// The package keeps no state and starts nothing. It does not know structs:
// encoding application types is the business of the caller.
package msgp
