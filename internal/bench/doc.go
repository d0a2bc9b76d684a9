// Package bench measures what liveness costs, in this process and against what
// one would use instead, and presents it.
//
// What every benchmark shares is a [Report], which is tables with a rendering
// for people and one for programs, and a [Progress], which hears how far a
// benchmark has got. A benchmark is a function of a context, its settings and a
// Progress; when the context ends it ends what it started and returns a report
// of what it has.
package bench
