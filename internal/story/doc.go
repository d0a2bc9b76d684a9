// Package story plays the classic story of a heartbeat: a client beats every
// two seconds, ten times, is silent for twelve, and would beat again. It is
// played over each transport and under each policy at once, with servers and
// clients in this process, and every end is held against what the policy
// promises.
//
// Times are the story's: at ten times the speed a second of the story takes a
// tenth of one. Lateness is the exception: it is real time, since the engine's
// promise is.
package story
