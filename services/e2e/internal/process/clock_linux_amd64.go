package process

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SetClock has the wall clock of a running Go program be wrong by an amount of
// whole seconds from now on, as after a step of its machine's clock; 0 makes it
// right again. Its monotonic clock, and every other process's clocks, stay as
// they are. A restart makes it right, too.
//
// Go asks for the time in the vDSO (vdso(7)), a page of code that the kernel
// lends to each process. The function there is replaced, in this process alone,
// by one that asks the kernel itself and adds to what it says. The process stands
// still meanwhile, and none of its threads is in what is replaced.
func (p *Process) SetClock(wrong time.Duration) {
	p.t.Helper()
	if err := p.setClock(wrong); err != nil {
		p.t.Fatalf("setting the clock of %s: %v", p.Program, err)
	}
}

// NeedClocks skips a test where SetClock cannot be had.
func NeedClocks(testing.TB) {}

// askKernel is what the vDSO's clock_gettime(edi, rsi) becomes; the seconds to
// add, 32 bits of them, and a ret follow.
var askKernel = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall, which keeps rdi and rsi
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 0x07, // jne past the next
	0x48, 0x81, 0x06, // add qword [rsi], imm32
}

func (p *Process) setClock(wrong time.Duration) error {
	dir := filepath.Join("/proc", strconv.Itoa(p.PID()))
	memory, err := os.OpenFile(filepath.Join(dir, "mem"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	at, size, err := findClock(dir, memory)
	if err != nil {
		return err
	}
	code := binary.LittleEndian.AppendUint32(bytes.Clone(askKernel), uint32(int32(wrong/time.Second)))
	if code = append(code, 0xc3); uint64(len(code)) > size { // ret
		return fmt.Errorf("the vDSO's function has %d bytes, and ours %d", size, len(code))
	}
	for range 1000 {
		p.Signal(syscall.SIGSTOP)
		free, err := outside(dir, at, size)
		if err == nil && free {
			_, err = memory.WriteAt(code, int64(at))
		}
		p.Signal(syscall.SIGCONT)
		if err != nil || free {
			return err
		}
		time.Sleep(time.Millisecond) // it has to move on
	}
	return errors.New("some thread was always reading the clock")
}

// findClock gives where a process has the vDSO's clock_gettime.
func findClock(dir string, memory *os.File) (at, size uint64, err error) {
	maps, err := os.ReadFile(filepath.Join(dir, "maps"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		var begin, end uint64
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &begin, &end); err != nil {
			return 0, 0, fmt.Errorf("reading %q: %w", line, err)
		}
		image := make([]byte, end-begin)
		if _, err := memory.ReadAt(image, int64(begin)); err != nil {
			return 0, 0, fmt.Errorf("reading the vDSO: %w", err)
		}
		file, err := elf.NewFile(bytes.NewReader(image))
		if err != nil {
			return 0, 0, fmt.Errorf("reading the vDSO: %w", err)
		}
		symbols, err := file.DynamicSymbols()
		if err != nil {
			return 0, 0, fmt.Errorf("reading the vDSO: %w", err)
		}
		for _, s := range symbols {
			if s.Name == "__vdso_clock_gettime" {
				return begin + s.Value, s.Size, nil
			}
		}
	}
	return 0, 0, errors.New("it has no vDSO with clock_gettime")
}

// outside says whether a process stands still with no thread in what is to be
// replaced: proc_pid_syscall(5) ends with where the thread is, and says
// "running" of one that has not stopped yet.
func outside(dir string, at, size uint64) (bool, error) {
	threads, err := filepath.Glob(filepath.Join(dir, "task", "*", "syscall"))
	if err != nil || len(threads) == 0 {
		return false, errors.Join(err, errors.New("it has ended"))
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // this thread has ended
		}
		if err != nil {
			return false, err
		}
		words := strings.Fields(string(text))
		if len(words) < 2 {
			return false, nil
		}
		where, err := strconv.ParseUint(words[len(words)-1], 0, 64)
		if err != nil {
			return false, fmt.Errorf("reading %q: %w", text, err)
		}
		if at <= where && where < at+size {
			return false, nil
		}
	}
	return true, nil
}
