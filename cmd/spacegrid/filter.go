package main

import (
	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// conditionFlags are a condition and its arguments.
type conditionFlags struct{ text, args string }

func (f *conditionFlags) register(c *cobra.Command, name, usage string) {
	c.Flags().StringVar(&f.text, name, "", usage+`, such as "price < ?"`)
	if c.Flags().Lookup("args") == nil {
		c.Flags().StringVar(&f.args, "args", "", "its arguments, a JSON list such as [20], or an object of names")
	}
}

// require puts the condition on an operation with a key.
func (f *conditionFlags) require(op *space.Op, def *space.Definition) error {
	args, err := form.ParseArgs([]byte(f.args))
	if err != nil {
		return err
	}
	return form.Require(op, def, f.text, args)
}

// filterFlags say which entries are meant.
type filterFlags struct {
	match string
	where conditionFlags
}

func (f *filterFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.match, "match", "", "entries that match this template, a JSON object")
	f.registerWhere(c)
}

func (f *filterFlags) registerWhere(c *cobra.Command) {
	f.where.register(c, "where", "entries that meet this condition")
}

// given reports whether the flags name entries.
func (f *filterFlags) given() bool { return f.match != "" || f.where.text != "" }

// form reads the flags.
func (f *filterFlags) form() (form.Filter, error) {
	t, err := form.ParseTemplate([]byte(f.match))
	if err != nil {
		return form.Filter{}, err
	}
	args, err := form.ParseArgs([]byte(f.where.args))
	return form.Filter{Template: t, Where: f.where.text, Args: args}, err
}

// parse returns the filter, nil if everything passes.
func (f *filterFlags) parse() (grid.Filter, error) {
	x, err := f.form()
	if err != nil {
		return nil, err
	}
	return x.Parse()
}
