package bench

import "time"

// A course is what lies before a benchmark, in time to be measured, and how far
// it has got. It has one owner.
type course struct {
	to          Progress
	what        string
	done, total time.Duration
}

// begin says what is being done from now on.
func (c *course) begin(what string) {
	c.what = what
	c.advance(0)
}

func (c *course) advance(d time.Duration) {
	c.done += d
	c.to.Step(c.what, c.done.Seconds(), c.total.Seconds())
}
