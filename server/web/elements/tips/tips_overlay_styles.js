// The looks of tips over a video: readable on any picture.

import { css } from "../base/element.js";

export const overlayStyles = css`
  :host {
    pointer-events: none;
  }
  .area {
    display: grid;
    justify-items: center;
    min-height: 6rem;
  }
  .tip {
    box-sizing: border-box;
    max-width: min(100%, 28rem);
    padding: 0.875rem 1.5rem;
    border: 1px solid rgb(255 255 255 / 25%);
    border-radius: 1.25rem;
    background: rgb(16 18 25 / 88%);
    color: #fff;
    text-align: center;
    overflow-wrap: anywhere;
    animation: arrive 450ms cubic-bezier(0.2, 0.9, 0.3, 1.2);
  }
  .head {
    display: flex;
    gap: 0.5rem;
    align-items: baseline;
    justify-content: center;
  }
  .times {
    color: #cfd4de;
    font-size: 0.875rem;
    font-variant-numeric: tabular-nums;
  }
  .tokens {
    color: #c7c2ff;
    font-size: 1.75rem;
    font-weight: 700;
    line-height: 1.2;
    font-variant-numeric: tabular-nums;
  }
  p {
    margin: 0.25rem 0 0;
  }
  @keyframes arrive {
    from {
      opacity: 0;
      transform: translateY(2rem) scale(0.9);
    }
  }
`;
