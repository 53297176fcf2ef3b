//===- SupportTest.cpp - The support library against libm -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The functions are tested as they end up in a module: taken from the bitcode,
// compiled for this machine, linked and called. The reference is the C library
// in long double, which has eleven bits more.
//
//===----------------------------------------------------------------------===//

#include "ImageRunner.h"
#include "compiler/native/SupportLibrary.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace marver;
using namespace marver::testing;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kSpecials[] = {0.0,
                                -0.0,
                                1.0,
                                -1.0,
                                0.5,
                                -0.5,
                                2.0,
                                -2.0,
                                3.0,
                                1e-320,
                                -1e-320,
                                5e-324,
                                2.2250738585072014e-308,
                                1e308,
                                -1e308,
                                kInfinity,
                                -kInfinity,
                                kNaN,
                                1e-300,
                                1e300,
                                709.78,
                                709.79,
                                -745.13,
                                -745.14,
                                710.5,
                                -708.5,
                                1e-17,
                                -1e-17,
                                0.7071067811865476,
                                1.4142135623730951,
                                1e22,
                                1e15,
                                27.2,
                                0.7853981633974483,
                                1.5707963267948966,
                                3.141592653589793,
                                6381956970095103.0 * 0x1p797};

class Support : public ::testing::Test {
protected:
  template <typename Function> Function *get(const std::string &name) {
    auto object = compileSupportFunctions({name}, hostOptions());
    if (!object) {
      ADD_FAILURE() << toString(object.takeError());
      return nullptr;
    }
    auto image = linkImage({*object}, hostOptions());
    if (!image) {
      ADD_FAILURE() << toString(image.takeError());
      return nullptr;
    }
    images.push_back(mapImage(std::move(*image)));
    return images.back().function<Function>(name);
  }

  static double ulp(double x) {
    x = std::fabs(x);
    if (x < 0x1p-1022)
      return 0x1p-1074;
    return std::ldexp(1.0, std::ilogb(x) - 52);
  }

  static bool sameSpecial(double value, long double reference) {
    if (std::isnan(reference))
      return std::isnan(value);
    double rounded = static_cast<double>(reference);
    if (rounded == 0 && reference != 0)
      return std::fabs(value) <= 0x1p-1074;
    if (std::isinf(rounded) || rounded == 0)
      return value == rounded && std::signbit(value) == std::signbit(rounded);
    return true;
  }

  /// Compares a function of two numbers with its reference.
  struct BinaryCheck {
    const char *name;
    double (*function)(double, double);
    long double (*reference)(long double, long double);
    double worst = 0; ///< error, in units of the last place

    void operator()(double a, double b) {
      double value = function(a, b);
      long double exact = reference(a, b);
      EXPECT_TRUE(sameSpecial(value, exact))
          << name << "(" << a << ", " << b << ") = " << value;
      double rounded = static_cast<double>(exact);
      if (std::isfinite(rounded) && std::isfinite(value))
        worst = std::max(worst, static_cast<double>(std::fabs(value - exact) /
                                                    ulp(rounded)));
    }
  };

  /// Largest error in units of the last place over specials and random values
  /// of [low, high] (uniform, and over all magnitudes).
  void check(const std::string &name, long double (*reference)(long double),
             double low, double high, double limit) {
    auto *function = get<double(double)>(name);
    ASSERT_TRUE(function);
    std::mt19937_64 random(17);
    std::uniform_real_distribution<double> uniform(low, high);
    double worst = 0, worstAt = 0;
    auto one = [&](double x) {
      double value = function(x);
      long double exact = reference(x);
      EXPECT_TRUE(sameSpecial(value, exact))
          << name << "(" << x << ") = " << value << ", not "
          << static_cast<double>(exact);
      double rounded = static_cast<double>(exact);
      if (!std::isfinite(rounded) || !std::isfinite(value))
        return;
      double error =
          static_cast<double>(std::fabs(value - exact) / ulp(rounded));
      if (error > worst) {
        worst = error;
        worstAt = x;
      }
    };
    for (double x : kSpecials)
      one(x);
    for (int i = 0; i < 50000; ++i)
      one(uniform(random));
    for (int i = 0; i < 50000; ++i) {
      uint64_t bits = random();
      double x;
      std::memcpy(&x, &bits, sizeof(x));
      one(x);
    }
    EXPECT_LT(worst, limit) << name << " at " << worstAt;
    RecordProperty(name + "_ulp", std::to_string(worst));
  }

  std::vector<MappedImage> images;
};

TEST_F(Support, Exponentials) {
  check("exp", expl, -750, 715, 0.75);
  check("exp2", exp2l, -1080, 1030, 0.75);
  check("exp10", exp10l, -325, 310, 0.75);
  check("expm1", expm1l, -3, 3, 1.0);
}

TEST_F(Support, Logarithms) {
  check("log", logl, 0, 10, 0.55);
  check("log2", log2l, 0, 10, 0.55);
  check("log10", log10l, 0, 10, 0.55);
  check("log1p", log1pl, -1, 2, 0.6);
}

TEST_F(Support, Hyperbolics) {
  check("sinh", sinhl, -3, 3, 2.5);
  check("cosh", coshl, -3, 3, 1.5);
  check("tanh", tanhl, -3, 3, 2.5);
  check("asinh", asinhl, -3, 3, 2.5);
  check("acosh", acoshl, 1, 3, 2.5);
  check("atanh", atanhl, -1, 1, 2.5);
}

TEST_F(Support, Trigonometrics) {
  check("sin", sinl, -100, 100, 0.9);
  check("cos", cosl, -100, 100, 0.9);
  check("tan", tanl, -100, 100, 2.5);
  check("asin", asinl, -1, 1, 2.5);
  check("acos", acosl, -1, 1, 2.5);
  check("atan", atanl, -5, 5, 0.6);
}

TEST_F(Support, ErrorFunction) {
  check("erf", erfl, -4, 4, 3.0);
  check("erfc", erfcl, -4, 28, 5.0);
}

TEST_F(Support, RoundingAndRoots) {
  check("cbrt", cbrtl, -10, 10, 0.75);
  check("round", roundl, -10, 10, 0.001);
  check("sqrt", sqrtl, 0, 10, 0.501);
}

TEST_F(Support, SinglePrecisionIsRoundedDouble) {
  struct {
    const char *name;
    double (*reference)(double);
    float low, high;
  } functions[] = {{"expf", exp, -110, 95},    {"logf", log, 0, 100},
                   {"sinf", sin, -1000, 1000}, {"cosf", cos, -1000, 1000},
                   {"tanhf", tanh, -10, 10},   {"erff", erf, -5, 5},
                   {"atanf", atan, -9, 9},     {"log1pf", log1p, -1, 9},
                   {"expm1f", expm1, -3, 3}};
  std::mt19937 random(3);
  for (auto &f : functions) {
    auto *function = get<float(float)>(f.name);
    ASSERT_TRUE(function);
    std::uniform_real_distribution<float> uniform(f.low, f.high);
    for (int i = 0; i < 20000; ++i) {
      float x = uniform(random), value = function(x);
      float expected = static_cast<float>(f.reference(x));
      if (value == expected)
        continue;
      EXPECT_LE(std::fabs(value - expected),
                std::fabs(std::nextafterf(expected, INFINITY) - expected))
          << f.name << "(" << x << ")";
    }
  }
}

TEST_F(Support, PowerOfAllKinds) {
  BinaryCheck one{"pow", get<double(double, double)>("pow"), powl};
  ASSERT_TRUE(one.function);
  std::mt19937_64 random(5);
  for (double x : kSpecials)
    for (double y : kSpecials)
      one(x, y);
  for (double x : kSpecials)
    for (double y : {3.0, -3.0, 2.0, 0.5, 1e20, -1e20, 4503599627370497.0})
      one(x, y);
  std::uniform_real_distribution<double> base(0, 20), exponent(-200, 200);
  for (int i = 0; i < 100000; ++i)
    one(base(random), exponent(random));
  EXPECT_LT(one.worst, 0.75);
}

TEST_F(Support, Atan2OfAllQuadrants) {
  BinaryCheck one{"atan2", get<double(double, double)>("atan2"), atan2l};
  ASSERT_TRUE(one.function);
  std::mt19937_64 random(5);
  for (double x : kSpecials)
    for (double y : kSpecials)
      one(x, y);
  std::uniform_real_distribution<double> uniform(-2, 2);
  for (int i = 0; i < 100000; ++i)
    one(uniform(random), uniform(random));
  EXPECT_LT(one.worst, 0.9);
}

/// These two are exact, so they must agree in every bit.
TEST_F(Support, RemaindersAreExact) {
  auto *modulo = get<double(double, double)>("fmod");
  auto *nearest = get<double(double, double)>("remainder");
  ASSERT_TRUE(modulo && nearest);
  std::mt19937_64 random(11);
  auto one = [&](double x, double y) {
    for (auto [mine, theirs] :
         {std::pair{modulo(x, y), std::fmod(x, y)},
          std::pair{nearest(x, y), std::remainder(x, y)}}) {
      if (std::isnan(theirs)) {
        EXPECT_TRUE(std::isnan(mine)) << x << " by " << y;
        continue;
      }
      EXPECT_EQ(mine, theirs) << x << " by " << y;
      EXPECT_EQ(std::signbit(mine), std::signbit(theirs)) << x << " by " << y;
    }
  };
  for (double x : kSpecials)
    for (double y : kSpecials)
      one(x, y);
  std::uniform_real_distribution<double> uniform(-100, 100);
  for (int i = 0; i < 20000; ++i) {
    one(uniform(random), uniform(random));
    one(std::floor(uniform(random)) * 0.5, std::floor(uniform(random)) * 0.5);
    uint64_t bits[2] = {random(), random()};
    double values[2];
    std::memcpy(values, bits, sizeof(values));
    one(values[0], values[1]);
  }
}

TEST_F(Support, HalfConversionsOfAllBits) {
  auto *widen = get<float(_Float16)>("__extendhfsf2");
  auto *narrow = get<_Float16(float)>("__truncsfhf2");
  auto *narrowDouble = get<_Float16(double)>("__truncdfhf2");
  auto *narrowBrain = get<__bf16(float)>("__truncsfbf2");
  ASSERT_TRUE(widen && narrow && narrowDouble && narrowBrain);
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    auto half = static_cast<uint16_t>(bits);
    _Float16 x;
    std::memcpy(&x, &half, sizeof(x));
    float expected = static_cast<float>(x), value = widen(x);
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(value));
    else
      EXPECT_EQ(value, expected) << bits;
  }
  std::mt19937 random(2);
  for (int i = 0; i < 300000; ++i) {
    uint32_t bits = random();
    // Every other one in the range of halves, with ties among them.
    if (i & 1)
      bits = (bits & 0x8fffffff) | 0x30000000;
    if (i & 2)
      bits &= 0xfffff000;
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    _Float16 expected = static_cast<_Float16>(x), value = narrow(x);
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(value)));
    } else {
      EXPECT_EQ(static_cast<float>(value), static_cast<float>(expected)) << x;
      EXPECT_EQ(static_cast<float>(narrowDouble(x)),
                static_cast<float>(expected));
    }
    // To nearest even in the upper half of the bits.
    __bf16 brain = narrowBrain(x);
    uint16_t brainBits;
    std::memcpy(&brainBits, &brain, sizeof(brain));
    if (!std::isnan(x))
      EXPECT_EQ(brainBits, (bits + 0x7fff + (bits >> 16 & 1)) >> 16) << x;
    else
      EXPECT_GT(brainBits & 0x7fff, 0x7f80);
  }
}

TEST_F(Support, WideIntegers) {
  using Unsigned = unsigned __int128;
  auto *divide = get<Unsigned(Unsigned, Unsigned)>("__udivti3");
  auto *modulo = get<Unsigned(Unsigned, Unsigned)>("__umodti3");
  auto *divideSigned = get<__int128(__int128, __int128)>("__divti3");
  auto *moduloSigned = get<__int128(__int128, __int128)>("__modti3");
  ASSERT_TRUE(divide && modulo && divideSigned && moduloSigned);
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    Unsigned a = static_cast<Unsigned>(random()) << 64 | random();
    Unsigned b = static_cast<Unsigned>(random()) << 64 | random();
    b >>= random() % 128;
    a >>= random() % 128;
    if (b == 0)
      continue;
    EXPECT_TRUE(divide(a, b) == a / b && modulo(a, b) == a % b);
    auto sa = static_cast<__int128>(a), sb = static_cast<__int128>(b);
    EXPECT_TRUE(divideSigned(-sa, sb) == -sa / sb &&
                moduloSigned(-sa, sb) == -sa % sb &&
                divideSigned(sa, -sb) == sa / -sb);
  }
}

TEST_F(Support, MemoryFunctions) {
  auto *move = get<void *(void *, const void *, size_t)>("memmove");
  auto *copy = get<void *(void *, const void *, size_t)>("memcpy");
  auto *set = get<void *(void *, int, size_t)>("memset");
  auto *compare = get<int(const void *, const void *, size_t)>("memcmp");
  ASSERT_TRUE(move && copy && set && compare);
  std::mt19937 random(4);
  for (int i = 0; i < 5000; ++i) {
    unsigned char mine[400], theirs[400];
    for (int k = 0; k < 400; ++k)
      mine[k] = theirs[k] = static_cast<unsigned char>(random());
    size_t from = random() % 200, to = random() % 200, size = random() % 200;
    EXPECT_EQ(move(mine + to, mine + from, size), mine + to);
    std::memmove(theirs + to, theirs + from, size);
    EXPECT_EQ(std::memcmp(mine, theirs, 400), 0) << from << " " << to;
    EXPECT_EQ(compare(mine + from, mine + to, size) < 0,
              std::memcmp(mine + from, mine + to, size) < 0);
    copy(mine, mine + 200, size);
    std::memcpy(theirs, theirs + 200, size);
    set(mine + from, static_cast<int>(size), to);
    std::memset(theirs + from, static_cast<int>(size), to);
    EXPECT_EQ(std::memcmp(mine, theirs, 400), 0);
  }
}

} // namespace
