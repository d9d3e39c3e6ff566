/**
 * What a lab run owns outside its own memory: child processes, namespaces, directories. Everything is undone when its
 * owner says so, and failing that when the process ends, however it ends: normally, by an exception, by SIGINT,
 * SIGTERM or SIGHUP. Only SIGKILL leaves something behind; `sweep` of namespace.ts finds it at the next run.
 *
 * Undoing is synchronous, because an exit handler of Node.js cannot wait.
 */

type Undo = () => void;

const pending = new Map<symbol, Undo>();
let armed = false;

/**
 * Remembers how to undo something. Last in, first out at the end of the process.
 * @param undo synchronous; what it throws is swallowed at process end, because the remaining ones still have to run
 * @returns releases the entry without undoing it (the owner has done so itself)
 */
export function onLabExit(undo: Undo): () => void {
  arm();
  const key = Symbol('lab');
  pending.set(key, undo);
  return () => {
    pending.delete(key);
  };
}

/** Undoes everything now. Idempotent. */
export function undoAll(): void {
  for (const [key, undo] of [...pending].reverse()) {
    pending.delete(key);
    try {
      undo();
    } catch {
      // Already gone, or about to go with the process: the others matter more.
    }
  }
}

function arm(): void {
  if (armed) return;
  armed = true;
  process.on('exit', undoAll);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const handler = (): void => {
      undoAll();
      process.removeListener(signal, handler);
      // Where nobody else handles it, die of the signal, so that the caller sees the true cause.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    process.on(signal, handler);
  }
}
