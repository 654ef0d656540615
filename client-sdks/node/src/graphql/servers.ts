import { takeReport } from './report.js';

/** What of an answer is touched. */
interface Extended {
  extensions?: Record<string, unknown>;
}

function extend<R extends object>(result: R, context: unknown): R {
  const report = takeReport(context);
  return report === undefined
    ? result
    : { ...result, extensions: { ...(result as Extended).extensions, lunasec: report } };
}

/** What of Apollo Server's request is used; so that who uses another server need not have it. */
interface ApolloRequest {
  readonly contextValue: unknown;
  readonly response: {
    body: { kind: 'single'; singleResult: object } | { kind: 'incremental'; initialResult: object };
  };
}

/** A plugin for Apollo Server: answers say in `extensions.lunasec` what is degraded. */
export function lunasecApollo(): {
  requestDidStart(): Promise<{ willSendResponse(request: ApolloRequest): Promise<void> }>;
} {
  return {
    requestDidStart: async () => ({
      willSendResponse: async ({ contextValue, response: { body } }) => {
        if (body.kind === 'single') {
          body.singleResult = extend(body.singleResult, contextValue);
        } else {
          body.initialResult = extend(body.initialResult, contextValue);
        }
      },
    }),
  };
}

/** What of an execution in Yoga, or anything else on Envelop, is used. */
interface Executed {
  readonly result: unknown;
  setResult(result: never): void;
}
interface Execution {
  readonly args: { readonly contextValue?: unknown };
}

/** A plugin for GraphQL Yoga, and anything else on Envelop: likewise, also for each event of a subscription. */
export function lunasecYoga(): {
  onExecute(execution: Execution): { onExecuteDone(executed: Executed): void };
  onSubscribe(execution: Execution): {
    onSubscribeResult(): { onNext(executed: Executed): void };
  };
} {
  const done =
    ({ args }: Execution) =>
    ({ result, setResult }: Executed): void => {
      if (typeof result === 'object' && result !== null && !(Symbol.asyncIterator in result)) {
        setResult(extend(result, args.contextValue) as never);
      }
    };
  return {
    onExecute: (execution) => ({ onExecuteDone: done(execution) }),
    onSubscribe: (execution) => ({ onSubscribeResult: () => ({ onNext: done(execution) }) }),
  };
}
