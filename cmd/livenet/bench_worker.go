package main

import (
	"context"
	"os"
	"os/exec"

	"github.com/livenet/livenet/internal/bench"
	"github.com/livenet/livenet/internal/load"
)

// workerWord, as the only argument, makes the program a worker of a benchmark
// that takes several processes. It is not for people.
const workerWord = "bench-worker"

// workIfWorker does not return if the process is a worker.
func workIfWorker() {
	if len(os.Args) == 2 && os.Args[1] == workerWord {
		os.Exit(load.Work(os.Stdin, os.Stdout))
	}
}

// workerCommand is a worker that is still to be started.
func workerCommand() (func() *exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return func() *exec.Cmd { return exec.Command(program, workerWord) }, nil
}

// byWorkers has a benchmark run whose command is that of its workers.
func byWorkers(run measurement, command *func() *exec.Cmd) measurement {
	return func(ctx context.Context, p bench.Progress) (report *bench.Report, err error) {
		if *command, err = workerCommand(); err != nil {
			return nil, err
		}
		return run(ctx, p)
	}
}
