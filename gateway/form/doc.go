// Package form holds the forms in which the doors and the command line take and
// show what the grid has types for: definitions of spaces, conditions with their
// arguments, mutations, aggregates, explanations. Whatever can be said through one
// door is said in the same words through the others.
//
// Everything here is pure. What is wrong with a text is a *space.Error of
// CodeInvalid, or a *ConditionError that knows the place.
package form
