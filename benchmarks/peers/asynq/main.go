// asynq, the producer (`side produce`) and a worker (`side work`): the same as sides/produce.py and sides/tally.py do for the others.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/hibiken/asynq"
	"golang.org/x/sys/unix"
)

const (
	started = 1
	ended   = 2
)

var folder = os.Getenv("PEERS_FOLDER")

func main() {
	opt := asynq.RedisClientOpt{Addr: "127.0.0.1:" + os.Getenv("PEERS_REDIS_PORT")}
	if len(os.Args) > 1 && os.Args[1] == "work" {
		work(opt)
		return
	}
	produce(asynq.NewClient(opt))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// ── the tasks ──

func work(opt asynq.RedisClientOpt) {
	count := openCount()
	mux := asynq.NewServeMux()
	mux.HandleFunc("noop", func(context.Context, *asynq.Task) error {
		atomic.AddInt64(count, 1)
		return nil
	})
	mux.HandleFunc("stamp", func(_ context.Context, task *asynq.Task) error {
		waited := nowNs() - int64(binary.LittleEndian.Uint64(task.Payload()))
		record("waits", binary.LittleEndian.AppendUint64(nil, uint64(waited)))
		atomic.AddInt64(count, 1)
		return nil
	})
	mux.HandleFunc("hold", func(_ context.Context, task *asynq.Task) error {
		index := binary.LittleEndian.Uint64(task.Payload())
		ms := binary.LittleEndian.Uint64(task.Payload()[8:])
		mark(index, started)
		time.Sleep(time.Duration(ms) * time.Millisecond)
		mark(index, ended)
		return nil
	})
	// The pause of an idle worker is asynq's greatest wait: 1 s unless told otherwise.
	config := asynq.Config{Concurrency: 10, TaskCheckInterval: 10 * time.Millisecond, LogLevel: asynq.WarnLevel}
	check(asynq.NewServer(opt, config).Run(mux))
}

func openCount() *int64 {
	file, err := os.OpenFile(filepath.Join(folder, "counts", strconv.Itoa(os.Getpid())), os.O_RDWR|os.O_CREATE, 0o600)
	check(err)
	check(file.Truncate(8))
	page, err := unix.Mmap(int(file.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(err)
	return (*int64)(unsafe.Pointer(&page[0]))
}

func nowNs() int64 {
	var now unix.Timespec
	check(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	return now.Nano()
}

func mark(index uint64, kind uint32) {
	line := binary.LittleEndian.AppendUint64(nil, uint64(nowNs()))
	line = binary.LittleEndian.AppendUint64(line, index)
	line = binary.LittleEndian.AppendUint32(line, uint32(os.Getpid()))
	record("marks", binary.LittleEndian.AppendUint32(line, kind))
}

func record(name string, bytes []byte) {
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	check(err)
	_, err = file.Write(bytes)
	check(err)
	check(file.Close())
}

// ── the producer ──

type order struct {
	Do      string
	Count   int
	Callers int
	PerS    float64 `json:"per_s"`
	Ms      int
}

func produce(client *asynq.Client) {
	fmt.Println(`{"ready": true}`)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var ordered order
		check(json.Unmarshal(lines.Bytes(), &ordered))
		began := time.Now()
		ordered.carryOut(client)
		fmt.Printf("{\"s\": %f}\n", time.Since(began).Seconds())
	}
}

func (ordered order) carryOut(client *asynq.Client) {
	switch ordered.Do {
	case "singly":
		singly(client, ordered.Count, ordered.Callers)
	case "stamp":
		draw, due := rand.New(rand.NewSource(1)), time.Now()
		for range ordered.Count {
			due = due.Add(time.Duration(draw.ExpFloat64() / ordered.PerS * float64(time.Second)))
			time.Sleep(time.Until(due))
			send(client, "stamp", binary.LittleEndian.AppendUint64(nil, uint64(nowNs())))
		}
	case "hold":
		for index := range ordered.Count {
			payload := binary.LittleEndian.AppendUint64(nil, uint64(index))
			send(client, "hold", binary.LittleEndian.AppendUint64(payload, uint64(ordered.Ms)))
		}
	default:
		panic("unknown order " + ordered.Do)
	}
}

func singly(client *asynq.Client, count, callers int) {
	var group sync.WaitGroup
	for caller := range callers {
		share := count / callers
		if caller < count%callers {
			share++
		}
		group.Go(func() {
			for range share {
				send(client, "noop", nil)
			}
		})
	}
	group.Wait()
}

func send(client *asynq.Client, task string, payload []byte) {
	_, err := client.Enqueue(asynq.NewTask(task, payload))
	check(err)
}
