// Package timeline shows events of several connections over time: on a terminal, one row for
// each, which grows from left to right and is redrawn in place; otherwise, one line for each
// event.
package timeline
