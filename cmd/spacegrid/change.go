package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
)

// mutationFlag is one kind of mutation on the command line. All kinds share one
// list, so that mutations take effect in the order in which they are given.
type mutationFlag struct {
	op   string
	list *[]map[string]any
}

func (f *mutationFlag) String() string { return "" }

func (f *mutationFlag) Type() string {
	switch f.op {
	case "unset":
		return "path"
	case "min", "max":
		return "number"
	}
	return "path=value"
}

// Set adds a mutation, or a bound to the one before.
func (f *mutationFlag) Set(text string) error {
	if f.op == "min" || f.op == "max" {
		if len(*f.list) == 0 || !strings.HasPrefix((*f.list)[len(*f.list)-1]["op"].(string), "add") {
			return usagef("--%s belongs behind --add", f.op)
		}
		(*f.list)[len(*f.list)-1][f.op] = json.RawMessage(valueText(text))
		return nil
	}
	path, value, given := strings.Cut(text, "=")
	m := map[string]any{"op": f.op, "path": path}
	if f.op != "unset" {
		if !given {
			return usagef("write path=value")
		}
		m["value"] = json.RawMessage(valueText(value))
		if f.op == "add" && strings.ContainsAny(value, ".eE") {
			m["op"] = "add_float"
		}
	}
	*f.list = append(*f.list, m)
	return nil
}

// valueText returns a value as JSON: as it is if it is JSON, a string otherwise.
func valueText(text string) []byte {
	if json.Valid([]byte(text)) {
		return []byte(text)
	}
	b, err := json.Marshal(text)
	if err != nil {
		panic("text has no JSON: " + err.Error())
	}
	return b
}

func (a *app) changeCommand() *cobra.Command {
	var list []map[string]any
	var filter filterFlags
	var condition conditionFlags
	var ifVersion uint64
	var create, scan bool
	var limit int
	c := &cobra.Command{
		Use:   "change SPACE [KEY]",
		Short: "Change an entry where it is, or those that match",
		Long: `Change an entry where it is, or those that match, and print what it has become.
Mutations take effect in the order given, all of them or none. A path leads
through objects and, by position, through arrays: owner.name, log.0.text. A
value is JSON, or else text.`,
		Example: `  spacegrid change seats A1 --add stock=-2 --min 0 --set owner.name=ada --if "not sold"
  spacegrid change jobs --where "state = 'new'" --limit 10 --set state=held`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			byKey := len(args) == 2
			switch {
			case byKey == filter.given():
				return usagef("give a key, or a template with --match, or a condition with --where")
			case len(list) == 0:
				return usagef("say what to change: --set, --add, …")
			case !byKey && (condition.text != "" || create || ifVersion != 0):
				return usagef("--if, --if-version and --create are for a key")
			}
			text, err := json.Marshal(list)
			if err != nil {
				return err
			}
			ms, err := form.ParseMutations(text)
			if err != nil {
				return err
			}
			parts := form.Changes(ms)
			if scan {
				parts = append(parts, grid.AllowScan())
			}
			if !byKey {
				f, err := filter.parse()
				if err != nil {
					return err
				}
				return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
					es, err := g.ChangeMatch(ctx, args[0], f, limit, parts...)
					if err != nil {
						return err
					}
					return a.showEntries(es)
				})
			}
			if condition.text != "" {
				values, err := form.ParseArgs([]byte(filter.where.args))
				if err == nil {
					_, err = form.ParseCondition(condition.text, values)
				}
				if err != nil {
					return err
				}
				parts = append(parts, grid.If(condition.text, values...))
			}
			if ifVersion != 0 {
				parts = append(parts, grid.IfVersion(grid.Version(ifVersion)))
			}
			if create {
				parts = append(parts, grid.OrCreate())
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				changed, err := g.Change(ctx, args[0], args[1], parts...)
				if err != nil {
					return err
				}
				return a.showEntries([]grid.Entry{changed.Value})
			})
		},
	}
	for _, f := range []struct{ name, usage string }{
		{"set", "set a value"}, {"unset", "remove a field or an element"}, {"default", "set a value if there is none"},
		{"add", "add to a number"}, {"min", "of the add before: refuse a sum below"}, {"max", "of the add before: refuse a sum above"},
		{"append", "add to the end of a text"}, {"push", "add an element to an array"},
		{"insert", "add an element unless the array has it"}, {"remove", "remove equal elements from an array"},
		{"lowest", "keep the lower value"}, {"highest", "keep the higher value"},
	} {
		c.Flags().Var(&mutationFlag{f.name, &list}, f.name, f.usage)
	}
	filter.register(c)
	condition.register(c, "if", "fail unless the entry meets this condition")
	c.Flags().Uint64Var(&ifVersion, "if-version", 0, "fail unless the entry has this version")
	c.Flags().BoolVar(&create, "create", false, "begin with an empty entry if there is none")
	c.Flags().IntVar(&limit, "limit", 1, "at most so many entries that match")
	c.Flags().BoolVar(&scan, "allow-scan", false, "examine any number of entries if no index serves")
	return c
}
