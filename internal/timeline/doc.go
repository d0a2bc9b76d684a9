// Package timeline shows what happens to several things over time: one row for
// each, growing from left to right and drawn in place on a terminal; elsewhere
// one line for each thing that happens.
package timeline
