// k6 run -e URL=… -e RATE=… -e SECONDS=… -e USERS=… [-e EXPECTED=…] open.js
// Requests at a constant rate, however long the answers take. With NUMBERS=1 each asks for URL/N, and
// has to be answered with N.
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const wrong = new Counter('wrong');

export const options = {
  scenarios: {
    open: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE),
      timeUnit: '1s',
      duration: `${__ENV.SECONDS}s`,
      preAllocatedVUs: Number(__ENV.USERS),
      gracefulStop: '60s',
    },
  },
};

export default function () {
  const number = __ENV.NUMBERS ? String(__VU * 100000 + __ITER) : null;
  const answer = http.get(number ? `${__ENV.URL}/${number}` : __ENV.URL, { timeout: '60s', tags: { name: 'open' } });
  const expected = number || __ENV.EXPECTED;
  if (answer.status !== 200 || (expected && answer.body !== expected)) {
    wrong.add(1);
  }
}
