package resp

import (
	"strings"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
)

// spaceAggregate replies with rows: maps of the groups' values and the columns'.
// Columns are count, count(path), sum(path), min, max, avg, distinct, top(n, path)
// and bottom(n, path), each with "as name" if wanted; none counts. A minus before
// the name of an ORDER turns it round.
func spaceAggregate(d *dialog, c Command) {
	q, rest, refusal := parseAggregate(c.Args[2:])
	if refusal != "" {
		d.error(refusal)
		return
	}
	c.Args = append(c.Args[:2:2], rest...)
	def, a, ok := d.open(c, "MATCH", "WHERE", "ARGS", "LIMIT", "LOCAL", "ALLOWSCAN")
	if !ok {
		return
	}
	q.Limit, q.Local = a.limit, a.local
	spec, parts, err := q.Parse()
	var result *grid.AggregateResult
	if err == nil {
		result, err = d.commands.grid.Aggregate(d.ctx, def.Name, a.filter, spec, parts...)
	}
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Array(len(result.Rows))
	for i := range result.Rows {
		d.out.Map(len(result.Groups) + len(result.Columns))
		for j, name := range result.Groups {
			d.out.BulkString(name)
			d.value(result.Rows[i].Groups[j])
		}
		for j, name := range result.Columns {
			d.out.BulkString(name)
			d.value(result.Rows[i].Values[j])
		}
	}
}

// parseAggregate takes what an aggregate computes out of the arguments and returns
// the others.
func parseAggregate(args [][]byte) (q form.Aggregate, rest [][]byte, refusal string) {
	for len(args) > 0 {
		var to *[]string
		switch strings.ToUpper(quotable(args[0], refusalQuote)) {
		case "BY":
			to = &q.GroupBy
		case "COLUMN":
			to = &q.Columns
		case "ORDER":
			to = &q.OrderBy
		case "HAVING":
			if len(args) < 2 || q.Having != "" {
				return q, nil, textSyntax
			}
			q.Having, args = string(args[1]), args[2:]
			continue
		case "LOCAL", "ALLOWSCAN":
			rest, args = append(rest, args[0]), args[1:]
			continue
		default:
			n := min(2, len(args))
			rest, args = append(rest, args[:n]...), args[n:]
			continue
		}
		if len(args) < 2 {
			return q, nil, textSyntax
		}
		*to, args = append(*to, string(args[1])), args[2:]
	}
	return q, rest, ""
}

// value writes a value of a row: null, booleans, integers, doubles and text as
// such, the rest as JSON text. The group of true is thus told from that of the text
// "true"; in RESP2, which has no booleans, it is 1.
func (d *dialog) value(v any) {
	switch v := v.(type) {
	case nil:
		d.out.Null()
	case bool:
		d.out.Bool(v)
	case int64:
		d.out.Int(v)
	case float64:
		d.out.Double(v)
	case string:
		d.out.BulkString(v)
	case []byte:
		d.out.Bulk(v)
	default:
		text, err := form.AppendValue(nil, v)
		if err != nil {
			panic("resp: a value of an aggregate has no JSON: " + err.Error())
		}
		d.out.Bulk(text)
	}
}

// spaceExplain replies with lines for people: how a query would find its entries,
// and what that costs.
func spaceExplain(d *dialog, c Command) {
	def, a, ok := d.open(c, "MATCH", "WHERE", "ARGS", "LIMIT", "ALLOWSCAN")
	if !ok {
		return
	}
	e, err := d.commands.grid.Explain(d.ctx, def.Name, a.filter, a.limit, a.allowScan)
	if err != nil {
		d.fail(err)
		return
	}
	d.texts(strings.Split(e.String(), "\n"))
}
