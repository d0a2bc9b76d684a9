// Package story runs the demonstration of livenet demo: a client sends ten beats, one every
// two seconds, is silent for twelve seconds, and tries to beat again. It runs over each
// transport and under each policy at once, with servers and clients in this process, and
// compares every end with what the policy promises.
//
// Times are scaled: at speed 10 a second of the script takes 100 ms. Lateness is in real
// time, since the engine's promise is, too.
package story
