// The bootstrap of functions in JavaScript: it takes events from the Lambda runtime API and
// gives them to the function's handler.
'use strict';
const http = require('node:http');
const fs = require('node:fs');
const path = require('node:path');
const util = require('node:util');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const root = process.env.LAMBDA_TASK_ROOT;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let requestId = '';

function call(method, where, body, headers) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? undefined : Buffer.from(body);
    const options = { host, port, method, agent, path: '/2018-06-01/runtime/' + where, headers: { ...headers } };
    if (data) options.headers['Content-Length'] = data.length;
    const request = http.request(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(parts) }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(data);
  });
}

for (const [level, name] of [['log', 'INFO'], ['info', 'INFO'], ['warn', 'WARN'], ['error', 'ERROR'], ['debug', 'DEBUG'], ['trace', 'TRACE']]) {
  console[level] = (...args) => {
    const text = util.format(...args).replace(/\n/g, '\r');
    fs.writeSync(1, `${new Date().toISOString()}\t${requestId}\t${name}\t${text}\n`);
  };
}

function errorOf(e, kind) {
  const error = e instanceof Error;
  return JSON.stringify({
    errorType: kind || (error ? e.name : typeof e),
    errorMessage: error ? e.message : util.format(e),
    trace: error && e.stack ? e.stack.split('\n') : [],
  });
}

async function failInit(e, kind) {
  console.error('Uncaught Exception', errorOf(e, kind));
  await call('POST', 'init/error', errorOf(e, kind), { 'Lambda-Runtime-Function-Error-Type': kind || e.name });
  process.exit(1);
}

async function load() {
  const name = process.env._HANDLER;
  const file = path.basename(name);
  const dot = file.indexOf('.');
  if (dot < 0) await failInit(new Error(`Bad handler ${name}`), 'Runtime.MalformedHandlerName');
  const module = path.join(root, path.dirname(name), file.slice(0, dot));
  let loaded;
  try {
    if (fs.existsSync(module + '.mjs')) {
      loaded = await import(pathToFileURL(module + '.mjs').href);
    } else {
      try {
        loaded = createRequire(path.join(root, 'index.js'))(module);
      } catch (e) {
        if (e.code !== 'ERR_REQUIRE_ESM' && !(e instanceof SyntaxError && fs.existsSync(module + '.js'))) throw e;
        loaded = await import(pathToFileURL(module + '.js').href);
      }
    }
  } catch (e) {
    await failInit(e, e.code === 'MODULE_NOT_FOUND' || e.code === 'ERR_MODULE_NOT_FOUND' ? 'Runtime.ImportModuleError' : e instanceof SyntaxError ? 'Runtime.UserCodeSyntaxError' : undefined);
  }
  let handler = loaded;
  for (const part of file.slice(dot + 1).split('.')) handler = handler && (handler[part] ?? (handler.default && handler.default[part]));
  if (typeof handler !== 'function') await failInit(new Error(`${name} is undefined or not exported`), 'Runtime.HandlerNotFound');
  return handler;
}

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const client = headers['lambda-runtime-client-context'];
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: requestId,
    clientContext: client ? JSON.parse(client) : undefined,
    identity: undefined,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

// invoke calls a handler that returns a promise, or that calls back.
function invoke(handler, event, context) {
  return new Promise((resolve, reject) => {
    const callback = (err, result) => (err ? reject(err) : resolve(result));
    context.done = callback;
    context.succeed = (result) => resolve(result);
    context.fail = (err) => reject(err);
    const result = handler(event, context, callback);
    if (result && typeof result.then === 'function') result.then(resolve, reject);
    else if (handler.length < 3 && result !== undefined) resolve(result);
    else if (handler.length < 2) resolve(result);
  });
}

async function main() {
  const handler = await load();
  for (;;) {
    const { headers, body } = await call('GET', 'invocation/next');
    requestId = headers['lambda-runtime-aws-request-id'];
    process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'];
    try {
      const result = await invoke(handler, JSON.parse(body.toString('utf8')), contextOf(headers));
      await call('POST', `invocation/${requestId}/response`, JSON.stringify(result === undefined ? null : result), { 'Content-Type': 'application/json' });
    } catch (e) {
      console.error('Invoke Error', errorOf(e));
      await call('POST', `invocation/${requestId}/error`, errorOf(e), { 'Lambda-Runtime-Function-Error-Type': e && e.name ? e.name : 'Error' });
    }
  }
}

process.on('uncaughtException', (e) => { console.error('Uncaught Exception', errorOf(e)); process.exit(129); });
process.on('unhandledRejection', (e) => { console.error('Unhandled Promise Rejection', errorOf(e)); process.exit(128); });
main();
