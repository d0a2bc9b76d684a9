// Package load holds and churns sessions by the thousand, or by the million, to
// measure what they cost. Servers and clients are processes of their own, so
// that what is measured of a server is a server's, and as many of each as the
// limit on descriptors asks for.
//
// A run is a [Hold] or a [Churn]: a benchmark as package bench has them. A
// [Plan] says which process holds how many sessions, and from which addresses;
// [Limits] are asked before anything is started, and say which of them is in
// the way.
//
// The coordinator, which is whoever calls Run, starts workers and speaks with
// them in JSON lines: orders on their stdin, notes on their stdout. A worker
// ends when its stdin does. So none outlives its coordinator, however that ends.
package load
