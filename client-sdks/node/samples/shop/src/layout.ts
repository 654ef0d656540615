import type { Request, Response } from 'express';

import { type Html, html } from './html.js';

/** Sends a page: what is common to all of them around what is its own. */
export function page(req: Request, res: Response, title: string, body: Html): void {
  const whole = html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <meta name="csrf" content="${req.visitor?.csrf}">
    <title>${title} · Northwind Outfitters</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/shop.css">
  </head>
  <body>
    <header><a class="brand" href="/">Northwind Outfitters</a>${navigation(req)}</header>
    <main>
      <h1>${title}</h1>
      ${notice(res)}
      ${body}
    </main>
  </body>
</html>`;
  res.type('html').send(whole.text);
}

function navigation(req: Request): Html {
  switch (req.visitor?.person?.role) {
    case 'customer':
      return html`<nav><a href="/account">Account</a><a href="/orders">Orders</a>${logOut(req)}</nav>`;
    case 'support':
      return html`<nav><a href="/support">Support</a>${logOut(req)}</nav>`;
    case 'admin':
      return html`<nav><a href="/admin">Orders to ship</a>${logOut(req)}</nav>`;
    default:
      return html`<nav><a href="/login">Log in</a><a href="/sign-up">Sign up</a></nav>`;
  }
}

function logOut(req: Request): Html {
  return html`<form method="post" action="/logout">${csrf(req)}<button class="link">Log out</button></form>`;
}

/** What LunaSec could not do as it should for this page. */
function notice(res: Response): Html {
  const { degraded, reasons, masked, ageSeconds } = res.locals.lunasec ?? { degraded: false };
  if (!degraded) {
    return html``;
  }
  // Other reasons than these are errors: then something was not answered at all.
  return masked === 0 && reasons.every((reason) => reason === 'storage' || reason === 'keys')
    ? html`<p class="notice" data-degraded="old">Shown from memory (${ageSeconds} s old): what is new may be missing.</p>`
    : html`<p class="notice" data-degraded="masked">Some details cannot be shown just now. They will be back by themselves.</p>`;
}

/** In each form. */
export function csrf(req: Request): Html {
  return html`<input type="hidden" name="csrf" value="${req.visitor.csrf}">`;
}

export function price(cents: number): string {
  return `€ ${(cents / 100).toFixed(2)}`;
}
