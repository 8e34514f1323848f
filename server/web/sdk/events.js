// Delivers events and errors to handlers and iterators. README.md has the reasons of all limits.

const HANDLERS_MAX = 100;
const UNREAD_MAX = 1000;

export class HalfminuteError extends Error {
  constructor(code, message = code, problem = {}) {
    super(message);
    const { status, required, current, shortfall, retryAfterSeconds: retryAfter } = problem;
    Object.assign(this, { name: "HalfminuteError", code, status, required, current, shortfall, retryAfter, problem });
  }
}

export class Unauthorized extends HalfminuteError {
  constructor(message) {
    super("UNAUTHENTICATED", message);
  }
}

export class Disconnected extends HalfminuteError {
  constructor(message) {
    super("DISCONNECTED", message);
  }
}

export const errorOf = (problem) => new HalfminuteError(problem.error, problem.message, problem);

export class Emitter {
  #handlers = new Map();

  isOver = false; // the next event is the last

  on(type, handler) {
    const handlers = this.#of(type);
    if (handlers.size >= HANDLERS_MAX) throw new RangeError(`too many handlers of ${type}`);
    this.#handlers.set(type, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  off(type, handler) {
    this.#of(type).delete(handler);
  }

  emit(type, event) {
    const handlers = [...this.#of(type), ...this.#of("*")];
    const report = type === "error" ? this.log : this.report;
    for (const handler of handlers) {
      try {
        handler(event)?.catch?.(report);
      } catch (error) {
        report(error);
      }
    }
    return handlers.length > 0;
  }

  async *[Symbol.asyncIterator]() {
    const unread = [];
    let wake;
    const off = this.on("*", (event) => {
      if (unread.push(event) > UNREAD_MAX) off();
      wake?.();
    });
    try {
      while (unread.length || !this.isOver) {
        if (unread.length > UNREAD_MAX) throw new HalfminuteError("TOO_SLOW");
        if (unread.length) yield unread.shift();
        else await new Promise((resolve) => (wake = resolve));
      }
    } finally {
      off();
    }
  }

  #of(type) {
    return this.#handlers.get(type) ?? new Set();
  }
}
